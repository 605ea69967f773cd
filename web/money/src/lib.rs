//! The console's pages for money and limits: budgets, rate limits, kill switches, the ledger.
//!
//! Each folder is an area as in `features` of the console, and none imports another; what two of them share is beside them.

#![expect(clippy::needless_pass_by_value, reason = "component properties are owned by the component")]
#![expect(clippy::large_types_passed_by_value, reason = "what pages share are bundles of `Copy` handles of signals")]
#![expect(unreachable_pub, reason = "the component macro writes its functions as `pub`")]
#![expect(missing_docs, reason = "what a value is its name says; what its name does not say is written")]

pub mod budgets;
pub mod kill_switches;
pub mod ledger;
mod names;
pub mod rate_limits;
mod subject;
