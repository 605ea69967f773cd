//! Turns values into text: the one place that decides how money, time, counts and ids read.
//!
//! Pure and tested natively; knows no browser. The time zone comes in as an offset in minutes.

pub(crate) mod csv;
pub(crate) mod id;
pub(crate) mod json;
pub(crate) mod money;
pub(crate) mod number;
pub(crate) mod time;
