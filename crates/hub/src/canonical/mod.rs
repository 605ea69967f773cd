//! The hub model: what a chat call and its answer mean, in no vendor's dialect.
//!
//! Every dialect converts to and from these types and nothing else, so N dialects need 2 × N conversions. What a
//! dialect cannot say is a [`loss::Loss`], never silence; what this model does not know travels as [`json::Rest`].

pub mod answer;
pub mod citation;
pub mod content;
pub mod embedding;
pub mod error;
pub mod event;
pub mod json;
pub mod loss;
pub mod probability;
pub mod request;
pub mod tool;
pub mod usage;
