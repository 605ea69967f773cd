//! Which nodes are connected to this process, what they last reported, and the watch that cuts revoked ones.
//!
//! Reports are kept in memory and written to the database in batches, at most twice a second: the console reads them there,
//! from whichever control process it asks. Invariants: one live stream per node here, a newer one ends the older; a report that
//! could not be written is written later, also the one that says that a node is gone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::node::{Holds, Node, NodeGroup, NodeStatus};
use domain::rate_limit::Share;
use domain::{NodeGroupId, NodeId};
use parking_lot::Mutex;
use store::StoreError;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Plane;
use crate::publisher::Announcement;

/// Reports are written at most this often.
const WRITE_EVERY: Duration = Duration::from_millis(500);

/// A node counts among those that share rate limits until it has been silent for this long.
const COUNTS_FOR: Duration = Duration::from_secs(90);

struct Live {
    node: Node,
    /// What its stream goes by.
    holds: Holds,
    boot_id: String,
    generation: u64,
    cancel: CancellationToken,
    status: NodeStatus,
    is_dirty: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Nodes {
    state: Mutex<State>,
    dirty: Notify,
}

#[derive(Default)]
struct State {
    /// Which part of rate limits each node takes that may be serving.
    shares: HashMap<NodeId, Share>,
    live: HashMap<NodeId, Live>,
    generation: u64,
    revoked: BTreeSet<NodeId>,
}

/// A stream's place in the registry; dropping it says that the node is gone.
pub(crate) struct Place {
    plane: Arc<Plane>,
    node: NodeId,
    generation: u64,
    /// Cancelled when the node was revoked or came back on another stream.
    pub(crate) cancel: CancellationToken,
}

impl Nodes {
    /// Registers a stream and ends the node's earlier one. The flag says that the earlier one was another process of the node:
    /// two machines with one identity.
    pub(crate) fn enter(
        plane: &Arc<Plane>,
        (node, group): (&Node, &NodeGroup),
        boot_id: &str,
        status: NodeStatus,
    ) -> (Place, bool) {
        let cancel = plane.stop.child_token();
        let mut state = plane.nodes.state.lock();
        state.generation += 1;
        let generation = state.generation;
        let live = Live {
            node: node.clone(),
            holds: group.holds.clone(),
            boot_id: boot_id.to_owned(),
            generation,
            cancel: cancel.clone(),
            status,
            is_dirty: true,
        };
        let earlier = state.live.insert(node.id, live);
        drop(state);
        let is_double = earlier.is_some_and(|earlier| {
            earlier.cancel.cancel();
            earlier.status.is_connected && earlier.boot_id != boot_id
        });
        plane.nodes.dirty.notify_one();
        (Place { plane: Arc::clone(plane), node: node.id, generation, cancel }, is_double)
    }

    pub(crate) fn is_revoked(&self, node: NodeId) -> bool {
        self.state.lock().revoked.contains(&node)
    }

    /// Returns a node's part of rate limits; nothing before nodes were first looked up.
    pub(crate) fn share(&self, node: NodeId) -> Option<Share> {
        self.state.lock().shares.get(&node).copied()
    }

    /// Takes over who shares rate limits; says whether anything of it is new to a node that is connected here.
    fn share_out(&self, nodes: &[(NodeId, Holds)]) -> bool {
        let shares: HashMap<_, _> = Share::among(nodes).into_iter().collect();
        let mut state = self.state.lock();
        let is_new = state.live.keys().any(|id| shares.get(id) != state.shares.get(id));
        state.shares = shares;
        is_new
    }

    fn groups(&self) -> BTreeSet<NodeGroupId> {
        self.state.lock().live.values().map(|live| live.node.group_id).collect()
    }

    /// Says whether any stream goes by something else than what its group may hold.
    fn is_outdated(&self, group: NodeGroupId, holds: &Holds) -> bool {
        self.state.lock().live.values().any(|live| live.node.group_id == group && live.holds != *holds)
    }

    fn cut(&self, revoked: Vec<NodeId>) {
        let mut state = self.state.lock();
        state.revoked = revoked.into_iter().collect();
        for live in state.live.values().filter(|live| state.revoked.contains(&live.node.id)) {
            live.cancel.cancel();
        }
    }

    /// Takes what is to be written. A node that is gone stays in the list until that is written down.
    fn take_dirty(&self) -> Vec<(Node, NodeStatus)> {
        let mut state = self.state.lock();
        let take =
            |live: &mut Live| std::mem::take(&mut live.is_dirty).then(|| (live.node.clone(), live.status.clone()));
        state.live.values_mut().filter_map(take).collect()
    }

    /// What was taken was not written: it is to be written again, as it is by then.
    fn put_back(&self, nodes: &[NodeId]) {
        let mut state = self.state.lock();
        for id in nodes {
            if let Some(live) = state.live.get_mut(id) {
                live.is_dirty = true;
            }
        }
    }

    /// Forgets those that are gone and written down as such.
    fn forget_gone(&self) {
        self.state.lock().live.retain(|_, live| live.status.is_connected || live.is_dirty);
    }
}

impl Place {
    /// Changes what is reported of the node.
    pub(crate) fn report(&self, change: impl FnOnce(&mut NodeStatus)) {
        let nodes = &self.plane.nodes;
        let mut state = nodes.state.lock();
        if let Some(live) = state.live.get_mut(&self.node).filter(|live| live.generation == self.generation) {
            change(&mut live.status);
            live.is_dirty = true;
            nodes.dirty.notify_one();
        }
    }
}

impl Place {
    /// States what the stream goes by from now on.
    pub(crate) fn regrouped(&self, holds: &Holds) {
        let mut state = self.plane.nodes.state.lock();
        if let Some(live) = state.live.get_mut(&self.node).filter(|live| live.generation == self.generation) {
            live.holds.clone_from(holds);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.report(|status| status.is_connected = false);
    }
}

/// Writes reports, cuts revoked nodes, and notices groups that changed, until `stop`.
pub(crate) async fn watch(plane: Arc<Plane>, stop: CancellationToken) {
    let mut poll = tokio::time::interval(plane.config.poll);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = plane.nodes.dirty.notified() => {
                logged("node reports could not be written", write(&plane).await);
                tokio::time::sleep(WRITE_EVERY).await;
            }
            _ = poll.tick() => {
                logged("revoked nodes could not be looked up", look_up(&plane).await);
                // What could not be written the last time: that a node is gone is said once, and must not be lost.
                logged("node reports could not be written", write(&plane).await);
            }
            () = stop.cancelled() => break,
        }
    }
    // The last word: who was connected to this process no longer is.
    logged("node reports could not be written", write(&plane).await);
}

fn logged(what: &'static str, result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(error = %runtime::telemetry::chain(&error), "{what}");
    }
}

async fn write(plane: &Plane) -> Result<(), StoreError> {
    let dirty = plane.nodes.take_dirty();
    let mut left = Vec::new();
    let written = match write_all(plane, &dirty).await {
        Ok(()) => Ok(()),
        Err(error @ StoreError::Unavailable(_)) => {
            left.extend(dirty.iter().map(|(node, _)| node.id));
            Err(error)
        }
        // One report that the database refuses holds up no other.
        Err(_) => {
            for report in &dirty {
                if let Err(error) = write_all(plane, std::slice::from_ref(report)).await {
                    tracing::error!(node.id = %report.0.id, error = %runtime::telemetry::chain(&error), "what a node reported could not be written");
                    left.push(report.0.id);
                }
            }
            Ok(())
        }
    };
    plane.nodes.put_back(&left);
    plane.nodes.forget_gone();
    written
}

async fn write_all(plane: &Plane, reports: &[(Node, NodeStatus)]) -> Result<(), StoreError> {
    if reports.is_empty() {
        return Ok(());
    }
    let mut tx = plane.cx.store.system().await?;
    for (node, status) in reports {
        store::nodes::set_status(&mut tx, node, status).await?;
    }
    tx.commit().await
}

async fn look_up(plane: &Plane) -> Result<(), StoreError> {
    let mut tx = plane.cx.store.system().await?;
    plane.nodes.cut(store::nodes::list_revoked(&mut tx, plane.cx.now()).await?);
    // One that fell silent may be serving all the same, with the part it knows of.
    let heard = store::nodes::list_heard(&mut tx, plane.cx.now().minus(COUNTS_FOR)).await?;
    if plane.nodes.share_out(&heard) {
        plane.publisher.announce(Announcement::Shares);
    }
    for id in plane.nodes.groups() {
        let group = store::nodes::find_group(&mut tx, id).await?;
        let holds = group.map_or(Holds::Only(Vec::new()), |group| group.holds);
        // Compared with what each stream goes by, not with the last look: a change may fall between a stream's begin and that.
        if plane.nodes.is_outdated(id, &holds) {
            plane.publisher.announce(Announcement::Group(id));
        }
    }
    Ok(())
}
