//! The languages of large language models: dialects and the hub model between them. **Sans-IO.**
//!
//! What depends on a vendor (addresses, authentication, prices) is in `provider`.
//!
//! # Passthrough and translation
//!
//! When client and upstream speak the same dialect and nothing must read or rewrite the content, the bytes pass
//! untouched and only a skimmer looks for usage and finish. Otherwise the request is read into the canonical
//! model ([`canonical`]) and written in the upstream's dialect, and the answer comes back as canonical events that the
//! client's encoder writes: dialect → canonical → dialect, so each dialect is one file and N dialects need 2 × N
//! conversions. Whole answers take the same road: they are decoded into the events that would have streamed them and
//! folded before they are written. What a dialect cannot say is listed as a [`canonical::loss::Loss`]; unknown fields
//! travel in `rest` and return to the dialect they came from.
//!
//! # Invariants
//!
//! - No clock, no socket, no randomness: the same inputs give the same bytes.
//! - Any split of the same upstream bytes gives the same events.
//! - Nothing here panics on any input; what cannot be read is an error that names the place.

#![deny(missing_docs)]

pub mod dialect;
pub mod fuzz;

pub use hub::{canonical, codec};
