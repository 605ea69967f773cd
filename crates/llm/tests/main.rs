//! Tests of the crate through its public door: golden translations, split properties, round trips, hostile bytes.

#[cfg(test)]
mod completions;
#[cfg(test)]
mod gemini;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod split;
