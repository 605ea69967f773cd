//! The store on a real PostgreSQL: every aggregate, row security, isolation, and the private cluster itself.

mod isolation;
mod migrations;
mod row_security;
mod statements;
mod support;
