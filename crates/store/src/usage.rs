//! The ledger of usage: one event per request, booked once, and sums by hour and by minute booked in the same transaction.
//!
//! [`append`] is idempotent: the primary key of an event removes repeats, and only what is new reaches the sums. Reads are sums
//! of requests ([`sum`], [`sum_minutes`]; [`report_sums`] without times, [`report_events`] by what sums do not keep) and of attempts
//! ([`sum_attempts`]), single requests ([`list`], [`get`]) and how far each node's spool has been booked ([`watermark`]).

mod append;
mod attempts;
mod billed;
mod event;
mod histogram;
mod measures;
mod minutes;
mod report;
mod requests;
mod sums;

pub use append::{Appended, Batch, append, drop_days_until, prepare_day, watermark};
pub use attempts::{AttemptDimension, AttemptGroup, AttemptQuery, AttemptSums, sum_attempts};
pub use billed::{Billed, is_booked, list_billed};
pub(crate) use event::{day, day_of};
pub use histogram::Histogram;
pub use minutes::{MINUTES_KEPT, MinuteDimension, Minutes, drop_minutes_before, sum_minutes};
pub(crate) use minutes::{MinuteKey, adjust_minutes};
pub use report::{By, Reported, Span, UnitSums, report_days, report_events, report_sums, unit_sums};
pub use requests::{RequestFilter, get, list};
pub use sums::{Dimension, Group, Query, Step, Sums, sum};
