//! Many calls at once: the forms in which vendors take files and batches, and what is known of them. **Sans-IO.**
//!
//! ```text
//! upload ──▶ form ──▶ split ──▶ request: each line's model is looked up ──▶ line: named, or written, as the upstream takes it
//! output ──▶ split ──▶ output: each line's usage is counted, its model named, or it is written, as the client knows it
//! shape: where things are at a vendor, and its objects in OpenAI's form
//! ```
//!
//! Whatever is read is read as it comes and never held but for one line. Not here: where bytes come from and go to, whose a batch
//! is, prices (`gateway`).
//!
//! # Invariants
//!
//! - No clock, no socket, no randomness: the same inputs give the same bytes.
//! - Any split of the same bytes gives the same lines.
//! - What is not understood is handed on untouched, or refused; never changed.

#![deny(missing_docs)]

mod call;
pub mod facts;
pub mod form;
pub mod ids;
pub mod line;
pub mod object;
pub mod output;
pub mod request;
pub mod shape;
pub mod split;

pub use call::BatchCall;
pub use facts::{Facts, Model};
