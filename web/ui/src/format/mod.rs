//! Turns values into text: the one place that decides how money, time, counts and ids read.
//!
//! Pure and tested natively; knows no browser. The time zone comes in as an offset in minutes.

pub mod csv;
pub mod id;
pub mod json;
pub mod money;
pub mod number;
pub mod time;
