//! The pages, one folder per area. An area composes primitives with operations of the API and imports no other area.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod credentials;
pub(crate) mod members;
pub(crate) mod models;
pub(crate) mod nodes;
pub(crate) mod overview;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod usage;
pub(crate) mod virtual_keys;
