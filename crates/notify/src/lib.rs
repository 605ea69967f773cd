//! Tells people: alerts are put into the form that a destination speaks, signed, sent, and tried again for days.
//!
//! ```text
//! alerts ─▶ route: whose filters let it pass ─▶ deliveries ─▶ claim ─▶ open the address ─▶ form, sign, send ─▶ finish
//!                                                   ▲                                                     │
//!                                                   └──────────── later, with growing pauses ◀────────────┘
//! ```
//! Not here: what alerts are raised (they are written where things happen), who may make destinations (`control`), SQL (`store`).
//!
//! # Invariants
//!
//! - Addresses that tenants enter are called within the egress rules; redirects are not followed.
//! - A try is written down before it is made and has one process; a repeat carries the id of the first.
//! - A destination that does not answer holds up no other.
//! - Neither addresses nor secrets stand in what is kept of an answer, or in the log.

#![deny(missing_docs)]

pub mod address;
pub mod courier;
pub mod form;
pub mod office;
pub mod schedule;
pub mod sign;
pub mod smtp;

pub use address::Address;
pub use courier::{Answer, Courier, Parcel, Verdict};
pub use office::{Office, Opener};
