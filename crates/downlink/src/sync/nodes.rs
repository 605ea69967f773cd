//! Which nodes are connected to this process, what they last reported, and the watch that cuts revoked ones.
//!
//! Reports are kept in memory and written to the database in batches, at most twice a second: the console reads them there,
//! from whichever control process it asks. Invariant: one live stream per node here; a newer one ends the older.

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

    fn take_dirty(&self) -> Vec<(Node, NodeStatus)> {
        let mut state = self.state.lock();
        let take =
            |live: &mut Live| std::mem::take(&mut live.is_dirty).then(|| (live.node.clone(), live.status.clone()));
        let dirty = state.live.values_mut().filter_map(take).collect();
        state.live.retain(|_, live| live.status.is_connected);
        dirty
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
    if dirty.is_empty() {
        return Ok(());
    }
    let mut tx = plane.cx.store.system().await?;
    for (node, status) in dirty {
        store::nodes::set_status(&mut tx, &node, &status).await?;
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
