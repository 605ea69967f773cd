//! What can go wrong in the store, without a word of the driver. Constraints of the schema are an enum, not text.
//!
//! Invariant: every named constraint of the schema that a caller can violate maps to a [`Constraint`] (a test walks the catalog).

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The row does not exist, or belongs to another organization.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// A constraint of the schema refused the write.
    #[error("refused by constraint {0:?}")]
    Conflict(Constraint),
    /// The row has changed since it was read: its version is another one.
    #[error("{0} has changed in the meantime")]
    Stale(&'static str),
    /// A write spent a permit and recorded no audit entry; nothing was committed.
    #[error("a permitted write without an audit entry was rolled back")]
    Unaudited,
    /// A permit of another organization was spent in this transaction; nothing was committed.
    #[error("a permit of another organization was refused")]
    ForeignPermit,
    /// The database cannot be reached, is overloaded or timed out; trying again later may help.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A stored value is not what the schema promises.
    #[error("{table}.{column} of {id} cannot be read")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: String,
    },
    /// A value does not fit its column.
    #[error("{0} does not fit the database")]
    Range(&'static str),
    /// A page cursor that this list did not give out.
    #[error("the cursor does not belong to this list")]
    Cursor,
    /// The database address is not understood.
    #[error("the database address is not of the form postgres://user:password@host:port/name")]
    Address,
    /// A pool signed in with the wrong role, or with one that bypasses row security.
    #[error(
        "the database session runs as {found} instead of a restricted {expected}; run `headgate migrate` with the owner of the database"
    )]
    Role {
        /// The role it must have.
        expected: &'static str,
        /// The role it has.
        found: String,
    },
    /// The schema is not the one this build needs.
    #[error(transparent)]
    Schema(#[from] crate::migrate::SchemaError),
    /// Anything else: a defect of ours or of the database.
    #[error("the database refused a statement")]
    Internal(#[source] sqlx::Error),
}

macro_rules! constraints {
    ($($(#[$doc:meta])* $name:ident = $($text:literal)|+;)+) => {
        /// A constraint of the schema that a caller's input can violate.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Constraint {
            $($(#[$doc])* $name,)+
            /// The row refers to one that is not there, or others refer to the row that should go.
            Reference,
            /// A constraint that correct input cannot violate; its violation is a defect.
            Other,
        }

        impl Constraint {
            /// Finds the constraint of a name in the schema.
            #[must_use]
            pub fn from_name(name: &str) -> Self {
                match name { $($($text)|+ => Self::$name,)+ _ => Self::Other }
            }
        }
    };
}

constraints! {
    /// Another organization has this slug.
    OrganizationSlug = "organizations_slug_key";
    /// Another workspace of the organization has this slug.
    WorkspaceSlug = "workspaces_slug_key";
    /// Another environment of the workspace has this slug.
    EnvironmentSlug = "environments_slug_key";
    /// Another user has this e-mail address.
    UserEmail = "users_email_key";
    /// The user is a member already.
    Member = "members_user_key";
    /// The member has this role at this scope already.
    RoleBinding = "role_bindings_key";
    /// Another virtual key has this public id.
    Kid = "virtual_keys_kid_key" | "access_tokens_kid_key" | "join_tokens_kid_key";
    /// Another live credential of the organization has this name.
    CredentialName = "credentials_name_key";
    /// Another live deployment of the workspace has this name.
    DeploymentName = "deployments_name_key";
    /// Another live route of the workspace has this name.
    RouteName = "routes_name_key";
    /// Another live budget of the same scope has this name.
    BudgetName = "budgets_name_key";
    /// Another live rate limit of the same scope has this name.
    RateLimitName = "rate_limits_name_key";
    /// Another live destination of alerts has this name.
    DestinationName = "alert_destinations_name_key";
    /// The target is stopped already.
    KillSwitchTarget = "kill_switches_target_key";
    /// The organization describes this model already.
    Model = "models_key";
    /// The price version of this model and start exists.
    Price = "prices_key";
    /// Another node group has this name.
    NodeGroupName = "node_groups_name_key";
    /// A node with this certificate serial exists.
    CertificateSerial = "node_certificates_pkey";
    /// The row exists already.
    Exists = "organizations_pkey" | "workspaces_pkey" | "environments_pkey" | "users_pkey" | "members_pkey" | "virtual_keys_pkey"
        | "budget_leases_open_key" | "alerts_once_key";
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
        match (&error, code.as_deref()) {
            (_, Some("23503")) => Self::Conflict(Constraint::Reference),
            // Class 23: integrity constraint violation.
            (sqlx::Error::Database(inner), Some(code)) if code.starts_with("23") => {
                let constraint = inner.constraint().map_or(Constraint::Other, Constraint::from_name);
                if constraint == Constraint::Other { Self::Internal(error) } else { Self::Conflict(constraint) }
            }
            // 08 connection, 53 resources, 57 operator intervention (timeouts, shutdown), 55P03 lock timeout, 40 rollback.
            (_, Some(code)) if ["08", "53", "57", "40"].contains(&&code[..2]) || code == "55P03" => {
                Self::Unavailable(error)
            }
            (
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed,
                _,
            ) => Self::Unavailable(error),
            _ => Self::Internal(error),
        }
    }
}

impl StoreError {
    /// Says whether what was to be written is at fault, so that the same write will fail again: 22 data, 23 constraints, 54 limits of
    /// the database (such as the size of an index entry).
    #[must_use]
    pub fn is_of_data(&self) -> bool {
        match self {
            Self::Range(_) | Self::Conflict(_) => true,
            Self::Internal(error) => {
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
            }
            _ => false,
        }
    }
}
