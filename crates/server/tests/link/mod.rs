//! What the link between the planes promises, one story each.

mod away;
pub(crate) mod bed;
mod forger;
pub(crate) mod herd;
mod intruders;
mod keeping;
mod leases;
mod ledger;
pub(crate) mod push;
mod raw;
mod rejoin;
mod remotes;
mod restored;
mod silence;
mod stories;
mod streams;
mod urgent;
mod words;
