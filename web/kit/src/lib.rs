//! What every page of the console stands on: the typed client, the session, addresses, lists, questions, objects as code.
//!
//! Knows the API and no area of the console; primitives are in `ui`. Invariant: the address alone says what is shown.

#![expect(clippy::needless_pass_by_value, reason = "component properties are owned by the component")]
#![expect(missing_docs, reason = "what a value is its name says; what its name does not say is written")]

pub mod api;
pub mod as_code;
pub mod ask;
pub mod naming;
pub mod nav;
pub mod page;
pub mod pages;
pub mod rotation;
pub mod session;
pub mod views;
