//! Leases money of budgets to nodes, as they ask for it.
//!
//! What is granted, taken back and closed is decided in `store::leases`, in one transaction per word of a node. Invariant: a node
//! gets money of organizations of its group only.

use std::sync::Arc;

use domain::LeaseId;
use domain::lease::Tell;
use domain::node::NodeGroup;
use policy::wire::lease;
use proto::v1;
use proto::v1::leases_server::Leases;
use store::StoreError;
use tonic::{Request, Response, Status};

use crate::sync::Plane;

/// See the module.
pub(crate) struct Lending {
    plane: Arc<Plane>,
}

impl Lending {
    pub(crate) const fn new(plane: Arc<Plane>) -> Self {
        Self { plane }
    }
}

/// Refuses a word that names an organization which the node may not hold.
fn check(group: &NodeGroup, told: &Tell) -> Result<(), Status> {
    if told.asks.iter().all(|ask| group.holds.includes(ask.account.organization_id)) {
        return Ok(());
    }
    Err(Status::permission_denied("an organization is outside of the node's group"))
}

#[tonic::async_trait]
impl Leases for Lending {
    async fn tell(&self, request: Request<v1::TellRequest>) -> Result<Response<v1::TellReply>, Status> {
        let (node, group) = self.plane.identify(&request).await?;
        let told =
            lease::decode_tell(request.into_inner()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        check(&group, &told)?;
        let cx = &self.plane.cx;
        let fresh: Vec<LeaseId> = told.asks.iter().map(|_| LeaseId::mint(&cx.mint)).collect();
        match store::leases::tell(&cx.store, node.id, &told, &fresh, cx.now()).await {
            Ok(answer) => Ok(Response::new(lease::encode_told(&answer))),
            Err(StoreError::Stale(_)) => Err(Status::aborted("the node has said something later already")),
            Err(error) => Err(self.plane.unavailable(&error)),
        }
    }
}
