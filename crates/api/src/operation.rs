//! What an operation is, and the macro that declares a table of them.

use domain::Permission;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An HTTP method of the management API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or performs a named act.
    Post,
    /// Changes some fields; wants the version seen.
    Patch,
    /// Archives, removes or revokes.
    Delete,
}

impl Method {
    /// Returns the name in capitals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Says whether the method may change something.
    #[must_use]
    pub const fn is_unsafe(self) -> bool {
        !matches!(self, Self::Get)
    }
}

/// What an actor needs to perform an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing; the operation itself is how one proves who one is.
    Public,
    /// A valid session or token; acts only on what is one's own.
    SignedIn,
    /// The permission on the organization in the path.
    Organization(Permission),
    /// The permission on the workspace in the path.
    Workspace(Permission),
    /// Ownership of the installation's first organization.
    Operator,
}

impl Access {
    /// Returns the permission, if one is needed.
    #[must_use]
    pub const fn permission(self) -> Option<Permission> {
        match self {
            Self::Organization(permission) | Self::Workspace(permission) => Some(permission),
            Self::Public | Self::SignedIn | Self::Operator => None,
        }
    }
}

/// One operation of the management API.
pub trait Operation: 'static {
    /// Its row of the table.
    const META: Meta;
    /// Path parameters: a struct whose fields are the names in braces.
    type Path: Serialize + DeserializeOwned + Send + 'static;
    /// Query parameters: a flat struct of optional scalars.
    type Query: Serialize + DeserializeOwned + Send + 'static;
    /// The JSON body; [`Empty`] for none.
    type Body: Serialize + DeserializeOwned + Send + 'static;
    /// The answer's JSON body; [`Empty`] for 204, [`Jsonl`] for lines of JSON, [`Csv`] for a table.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// A row of the operation table.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// Stable name, `aggregate.verb`; also span, metric and operation id.
    pub name: &'static str,
    /// Its method.
    pub method: Method,
    /// Path template below [`crate::BASE`].
    pub path: &'static str,
    /// What an actor needs.
    pub access: Access,
    /// The status of success.
    pub status: u16,
    /// One sentence, from the documentation of the operation.
    pub summary: &'static str,
    /// The shapes, for the OpenAPI document.
    #[cfg(feature = "schema")]
    pub shapes: Shapes,
}

impl Meta {
    /// Says whether a repeated request with the same idempotency key gives the first answer again.
    ///
    /// Answers are remembered in the organization they belong to. What is public or one's own has none, and is safe to repeat;
    /// so is what only looks.
    #[must_use]
    pub fn is_idempotent_by_key(&self) -> bool {
        let is_look = self.access.permission().is_some_and(Permission::is_read);
        matches!(self.method, Method::Post) && !matches!(self.access, Access::Public | Access::SignedIn) && !is_look
    }
}

/// Generators of the JSON schemas of an operation.
#[cfg(feature = "schema")]
#[derive(Debug, Clone, Copy)]
pub struct Shapes {
    /// Path parameters.
    pub path: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// Query parameters.
    pub query: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// Body; `Empty` when there is none.
    pub body: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// Reply; `Empty` for 204, `Jsonl` for lines, `Csv` for a table.
    pub reply: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// Type names of body and reply, to tell `Empty` and `Jsonl` apart.
    pub names: (&'static str, &'static str),
}

/// No content: a missing body, or a 204 answer. Reads from `{}` and from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Empty {}

/// No query parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NoQuery {}

/// Lines of JSON (`application/jsonl`), one value each.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Jsonl(pub String);

/// A table as comma-separated values (`text/csv`, RFC 4180) with a head line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Csv(pub String);

/// Declares operations: one documented line each. Gives a unit struct per operation and the file's table `ALL`.
macro_rules! operations {
    ($(
        #[doc = $summary:literal] $(#[doc = $more:literal])*
        $name:ident: $method:ident $path:literal as $text:literal
            needs $access:expr, path $path_type:ty, query $query:ty, body $body:ty, gives $status:literal $reply:ty;
    )+) => {
        $(
            #[doc = $summary] $(#[doc = $more])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl $crate::Operation for $name {
                const META: $crate::Meta = $crate::Meta {
                    name: $text,
                    method: $crate::Method::$method,
                    path: $path,
                    access: $access,
                    status: $status,
                    summary: $summary,
                    #[cfg(feature = "schema")]
                    shapes: $crate::operation::Shapes {
                        path: |generator| <$path_type as schemars::JsonSchema>::json_schema(generator),
                        query: |generator| <$query as schemars::JsonSchema>::json_schema(generator),
                        body: |generator| generator.subschema_for::<$body>(),
                        reply: |generator| generator.subschema_for::<$reply>(),
                        names: (stringify!($body), stringify!($reply)),
                    },
                };
                type Path = $path_type;
                type Query = $query;
                type Body = $body;
                type Reply = $reply;
            }
        )+

        /// The operations of this aggregate.
        pub const ALL: &[$crate::Meta] = &[$(<$name as $crate::Operation>::META),+];
    };
}

/// Declares the shapes of an aggregate: documented structs and enums with the derives that every shape has.
macro_rules! shapes {
    ($($(#[$meta:meta])* pub $kind:ident $name:ident $(<$generic:ident>)? { $($body:tt)* })+) => {
        $(
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
            #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
            $(#[$meta])*
            pub $kind $name $(<$generic>)? { $($body)* }
        )+
    };
}

pub(crate) use {operations, shapes};
