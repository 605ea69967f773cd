//! The store on a real PostgreSQL: every aggregate, row security, isolation, and the private cluster itself.

mod alerts;
mod audit;
mod budgets;
mod embedded;
mod identity;
mod isolation;
mod kept_responses;
mod limits;
mod migrations;
mod minutes;
mod nodes;
mod remote_objects;
mod routing;
mod row_security;
mod statements;
mod support;
mod usage;
