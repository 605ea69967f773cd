//! Applies the schema: ordered, checksummed, forward only, one migrator at a time.
//!
//! The files of `migrations/` are part of the executable. Each runs in a transaction of its own together with the line that
//! says it ran. Invariants: an applied file never changes (its SHA-256 is compared), versions have no gaps, and a database
//! that is ahead of this build is refused rather than guessed at.

use domain::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use crate::error::StoreError;
use crate::pool::{APP, Database, JOBS};

/// One file of `migrations/`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The number in its name.
    pub version: i32,
    /// The file name.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),+ $(,)?) => {
        /// Every migration in order.
        pub const ALL: &[Migration] = &[$(
            Migration { version: $version, name: $name, sql: include_str!(concat!("../../../migrations/", $name)) },
        )+];
    };
}

migrations! {
    1 "0001_identity.sql",
    2 "0002_workspaces.sql",
    3 "0003_routing.sql",
    4 "0004_nodes.sql",
    5 "0005_ledger.sql",
    6 "0006_membership.sql",
    7 "0007_node_state.sql",
    8 "0008_root_secrets.sql",
    9 "0009_routing_trees.sql",
    10 "0010_answers_given_again.sql",
    11 "0011_kept_responses.sql",
    12 "0012_units.sql",
    13 "0013_remote_objects.sql",
    14 "0014_budgets.sql",
    15 "0015_image_rates.sql",
    16 "0016_limits.sql",
    17 "0017_ledger_postings.sql",
    18 "0018_books.sql",
    19 "0019_histograms.sql",
    20 "0020_own_sessions.sql",
    21 "0021_attempts.sql",
    22 "0022_alerts.sql",
    23 "0023_usage_minutes.sql",
    24 "0024_found_secrets.sql",
    25 "0025_old_secrets.sql",
    26 "0026_base_models.sql",
    27 "0027_watched_nodes.sql",
    28 "0028_own_models.sql",
    29 "0029_stopped_users.sql",
}

/// Any number will do, as long as nothing else in the database takes it: the bytes of "headgate".
const LOCK: i64 = 0x6865_6164_6761_7465;

/// What is wrong with the schema of a database, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Migrations are missing.
    #[error(
        "the database needs {} migration(s), from {first} on; run `headgate migrate` or start with --auto-migrate",
        count
    )]
    Behind {
        /// How many.
        count: usize,
        /// The first that is missing.
        first: &'static str,
    },
    /// The database was migrated by a later build.
    #[error("the database is at schema version {found}, this build knows versions up to {known}; use the newer build")]
    Ahead {
        /// The version in the database.
        found: i32,
        /// The last version of this build.
        known: i32,
    },
    /// An applied migration is not the one of this build.
    #[error(
        "migration {name} was applied with other content than this build has; restore the right build or the backup"
    )]
    Changed {
        /// The file.
        name: &'static str,
    },
    /// The roles are missing and the user may not create them.
    #[error(
        "the database user may not create roles; as a superuser run: CREATE ROLE headgate_app; CREATE ROLE headgate_jobs; \
         GRANT headgate_app, headgate_jobs TO {user};"
    )]
    Roles {
        /// The user that must become a member.
        user: String,
    },
    /// A migration failed and was rolled back.
    #[error("migration {name} failed and was rolled back")]
    Failed {
        /// The file.
        name: &'static str,
        /// The database's reason.
        source: sqlx::Error,
    },
}

/// Applies what is missing and returns the names of the files applied.
pub async fn run(database: &Database, now: Timestamp) -> Result<Vec<&'static str>, StoreError> {
    let mut connection = database.owner.connect().await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    // The lock ends with the session, also when we fail in between.
    let applied = run_locked(&mut connection, now).await;
    connection.close().await?;
    applied
}

async fn run_locked(connection: &mut PgConnection, now: Timestamp) -> Result<Vec<&'static str>, StoreError> {
    ensure_roles(connection).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version    integer PRIMARY KEY,
             name       text   NOT NULL,
             checksum   bytea  NOT NULL,
             applied_at bigint NOT NULL
         );
         GRANT SELECT ON schema_migrations TO headgate_app, headgate_jobs",
    )
    .execute(&mut *connection)
    .await?;
    let missing = compare(&applied(connection).await?)?;
    for migration in missing {
        apply(connection, migration, now).await?;
    }
    Ok(missing.iter().map(|migration| migration.name).collect())
}

/// Says whether the database has exactly the schema of this build.
pub async fn check(database: &Database) -> Result<(), StoreError> {
    let mut connection = database.owner.connect().await?;
    let known: bool =
        sqlx::query_scalar("SELECT to_regclass('schema_migrations') IS NOT NULL").fetch_one(&mut connection).await?;
    let applied = if known { applied(&mut connection).await? } else { Vec::new() };
    connection.close().await?;
    match compare(&applied)? {
        [] => Ok(()),
        missing @ [first, ..] => Err(SchemaError::Behind { count: missing.len(), first: first.name }.into()),
    }
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<(i32, Vec<u8>)>, StoreError> {
    Ok(sqlx::query_as("SELECT version, checksum FROM schema_migrations ORDER BY version").fetch_all(connection).await?)
}

/// Returns the migrations that are missing.
fn compare(applied: &[(i32, Vec<u8>)]) -> Result<&'static [Migration], SchemaError> {
    let known = ALL.last().map_or(0, |migration| migration.version);
    for (index, (version, checksum)) in applied.iter().enumerate() {
        let Some(migration) = ALL.get(index).filter(|migration| migration.version == *version) else {
            return Err(SchemaError::Ahead { found: *version, known });
        };
        if checksum.as_slice() != Sha256::digest(migration.sql).as_slice() {
            return Err(SchemaError::Changed { name: migration.name });
        }
    }
    Ok(&ALL[applied.len()..])
}

async fn apply(connection: &mut PgConnection, migration: &Migration, now: Timestamp) -> Result<(), StoreError> {
    let failed = |source| SchemaError::Failed { name: migration.name, source };
    let mut tx = connection.begin().await?;
    sqlx::raw_sql(migration.sql).execute(&mut *tx).await.map_err(failed)?;
    sqlx::query("INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)")
        .bind(migration.version)
        .bind(migration.name)
        .bind(Sha256::digest(migration.sql).as_slice())
        .bind(now.as_micros())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    tracing::info!(migration = migration.name, "schema migration applied");
    Ok(())
}

/// Creates the two working roles when absent and makes the migrating user a member of both.
async fn ensure_roles(connection: &mut PgConnection) -> Result<(), StoreError> {
    for role in [APP, JOBS] {
        let (known, user): (bool, String) =
            sqlx::query_as("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1), current_user::text")
                .bind(role)
                .fetch_one(&mut *connection)
                .await?;
        // Role names are constants of this crate.
        if !known {
            let sql = format!("CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS");
            let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await;
            made.map_err(|_| SchemaError::Roles { user: user.clone() })?;
        }
        let member: bool =
            sqlx::query_scalar("SELECT pg_has_role($1, 'MEMBER')").bind(role).fetch_one(&mut *connection).await?;
        if !member {
            let granted =
                sqlx::raw_sql(AssertSqlSafe(format!("GRANT {role} TO CURRENT_USER"))).execute(&mut *connection).await;
            granted.map_err(|_| SchemaError::Roles { user })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Vec<(i32, Vec<u8>)> {
        ALL[..count].iter().map(|migration| (migration.version, Sha256::digest(migration.sql).to_vec())).collect()
    }

    #[test]
    fn versions_are_gapless_and_match_their_file_names() {
        for (index, migration) in ALL.iter().enumerate() {
            assert_eq!(migration.version, i32::try_from(index + 1).expect("a small number"));
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)), "{}", migration.name);
        }
    }

    #[test]
    fn what_is_missing_changed_or_ahead_is_told_apart() {
        assert_eq!(compare(&rows(0)).map(<[_]>::len).ok(), Some(ALL.len()));
        assert_eq!(compare(&rows(ALL.len())).map(<[_]>::len).ok(), Some(0));
        let mut changed = rows(2);
        changed[1].1[0] ^= 1;
        assert!(matches!(compare(&changed), Err(SchemaError::Changed { name: "0002_workspaces.sql" })));
        let mut ahead = rows(ALL.len());
        ahead.push((99, Vec::new()));
        assert!(matches!(compare(&ahead), Err(SchemaError::Ahead { found: 99, .. })));
    }
}
