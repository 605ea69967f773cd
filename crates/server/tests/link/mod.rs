//! What the link between the planes promises, one story each.

mod bed;
mod stories;
