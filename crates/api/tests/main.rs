//! Tests of the operation table from outside: the checked-in OpenAPI document is what the table says.

#[cfg(feature = "schema")]
mod openapi;
