//! What is computed from the ledger: parts of shared costs, tables for people, what providers say they billed, and what differs;
//! and the arithmetic of money that is lent to nodes.
//!
//! Amounts are whole nano-dollars throughout, and what is divided sums exactly to what it was divided from. Not here: where sums
//! come from (`store`), who may see them (`control`). No IO: texts and sums come in, rows go out.

#![deny(missing_docs)]

pub mod bill;
pub mod compare;
pub mod csv;
pub mod export;
pub mod leases;
pub mod share;
pub mod table;
