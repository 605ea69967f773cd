//! Identical calls at the same time: one is sent, the others wait for its answer.
//!
//! Invariant: a flight ends in exactly one way. It lands (all take the answer), it fails (each goes alone: a failure is a fact
//! about a try), or its leader is gone (one of the others leads on, the rest wait for that one).

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use crate::{Answer, CacheKey};

/// The flights of a node, over all workers.
#[derive(Debug, Default, Clone)]
pub struct Flights(Arc<Mutex<FxHashMap<[u8; 32], watch::Receiver<Stage>>>>);

/// How far a flight is.
#[derive(Debug, Clone)]
enum Stage {
    UnderWay,
    Landed(Arc<Answer>),
    Failed,
    Abandoned,
}

/// A caller's part in a flight.
#[derive(Debug)]
pub enum Part {
    /// Send the call, and tell the others.
    Lead(Lead),
    /// Wait.
    Follow(Follow),
}

/// The one that sends.
#[derive(Debug)]
pub struct Lead {
    flights: Flights,
    name: [u8; 32],
    stage: watch::Sender<Stage>,
    is_over: bool,
}

/// One that waits.
#[derive(Debug)]
pub struct Follow(watch::Receiver<Stage>);

/// What became of a flight for one that waited.
#[derive(Debug)]
pub enum End {
    /// Take this.
    Landed(Arc<Answer>),
    /// Go alone.
    Failed,
    /// Join again.
    Abandoned,
}

impl Flights {
    /// Joins the flight of a call, or begins it.
    #[must_use]
    pub fn join(&self, key: &CacheKey) -> Part {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(key.name()) {
            return Part::Follow(Follow(flight.clone()));
        }
        let (stage, flight) = watch::channel(Stage::UnderWay);
        flights.insert(*key.name(), flight);
        Part::Lead(Lead { flights: self.clone(), name: *key.name(), stage, is_over: false })
    }
}

impl Lead {
    /// Gives the answer to all.
    pub fn land(mut self, answer: Arc<Answer>) {
        self.end(Stage::Landed(answer));
    }

    /// Leaves the others to themselves.
    pub fn fail(mut self) {
        self.end(Stage::Failed);
    }

    fn end(&mut self, stage: Stage) {
        if !std::mem::replace(&mut self.is_over, true) {
            // First out of the list: who comes now begins a new flight.
            self.flights.0.lock().remove(&self.name);
            self.stage.send_replace(stage);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(Stage::Abandoned);
    }
}

impl Follow {
    /// Waits for the end.
    pub async fn wait(mut self) -> End {
        let ended = self.0.wait_for(|stage| !matches!(stage, Stage::UnderWay)).await;
        match ended.as_deref() {
            Ok(Stage::Landed(answer)) => End::Landed(Arc::clone(answer)),
            Ok(Stage::Failed) => End::Failed,
            // A leader says how it ended before it is gone, so an error cannot be.
            Ok(Stage::Abandoned | Stage::UnderWay) | Err(_) => End::Abandoned,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Secret;

    use super::*;
    use crate::KeyMaker;

    #[test]
    fn flights_are_shared_by_clones() {
        let flights = Flights::default();
        let key = KeyMaker::new(&Secret::new([1; 32])).finish().expect("a key");
        let Part::Lead(lead) = flights.join(&key) else { unreachable!("the first leads") };
        assert!(matches!(flights.clone().join(&key), Part::Follow(_)));
        drop(lead);
        assert!(matches!(flights.join(&key), Part::Lead(_)));
    }
}
