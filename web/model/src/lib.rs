//! What the console shows, as values: ranges of time, reports as charts, routes as trees, amounts as bars, audit
//! entries as sentences.
//!
//! Pure: no browser and no component, so every rule has a native test. Pages put it on the screen.

#![expect(missing_docs, reason = "what a value is its name says; what its name does not say is written")]

pub mod amounts;
pub mod range;
pub mod report;
pub mod subject;
pub mod tree;
pub mod words;
