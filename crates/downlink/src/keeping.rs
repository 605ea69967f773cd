//! Keeps the answers that nodes ask to keep, and finds them for any node that serves the same organization.
//!
//! The content is sealed by the nodes; nothing here can open it. Invariant: a node reaches only organizations of its group.

use std::sync::Arc;
use std::time::Duration;

use domain::organization::Organization;
use domain::{OrganizationId, Timestamp};
use proto::v1;
use proto::v1::response_keeping_server::ResponseKeeping;
use store::kept_responses::{self, KeptResponse, Place};
use tonic::{Request, Response, Status};

use crate::sync::Plane;

/// Longest id of a response; the vendors' have about 60 characters.
const MAX_ID: usize = 256;
/// A node's clock may be ahead of ours by this much.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// See the module.
pub(crate) struct Keeping {
    plane: Arc<Plane>,
}

impl Keeping {
    pub(crate) const fn new(plane: Arc<Plane>) -> Self {
        Self { plane }
    }

    /// Reads a place that the calling node may reach.
    async fn place<T>(&self, request: &Request<T>, place: Option<v1::KeptPlace>) -> Result<Place, Status> {
        let (_, group) = self.plane.identify(request).await?;
        let place = place.and_then(read).ok_or_else(|| Status::invalid_argument("the place cannot be read"))?;
        if group.holds.includes(place.organization) {
            return Ok(place);
        }
        Err(Status::permission_denied("the organization is outside of the node's group"))
    }
}

fn read(place: v1::KeptPlace) -> Option<Place> {
    let id = place.response_id;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    let is_id = !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(is_plain);
    let organization: OrganizationId = place.organization_id.parse().ok()?;
    let workspace = place.workspace_id.parse().ok()?;
    let environment = place.environment_id.parse().ok()?;
    is_id.then_some(Place { organization, workspace, environment, id })
}

#[tonic::async_trait]
impl ResponseKeeping for Keeping {
    async fn keep(&self, request: Request<v1::KeepRequest>) -> Result<Response<v1::KeepReply>, Status> {
        let place = self.place(&request, request.get_ref().place.clone()).await?;
        let asked = request.into_inner();
        let now = self.plane.cx.now();
        let latest = now.plus(Organization::MAX_RESPONSE_RETENTION).plus(CLOCK_TOLERANCE);
        let data_key_version = u16::try_from(asked.data_key_version).ok().filter(|version| *version > 0);
        let data_key_version =
            data_key_version.ok_or_else(|| Status::invalid_argument("the data key's version cannot be read"))?;
        let kept = KeptResponse {
            data_key_version,
            sealed: asked.sealed.to_vec(),
            created_at: now,
            expires_at: Timestamp::from_micros(asked.expires_at_us).min(latest),
        };
        let done = async {
            let mut tx = self.plane.cx.store.system().await?;
            kept_responses::insert(&mut tx, &place, &kept).await?;
            tx.commit().await
        };
        done.await.map_err(|error| self.plane.unavailable(&error))?;
        Ok(Response::new(v1::KeepReply {}))
    }

    async fn find(&self, request: Request<v1::FindKeptRequest>) -> Result<Response<v1::FindKeptReply>, Status> {
        let place = self.place(&request, request.get_ref().place.clone()).await?;
        let found = async {
            let mut tx = self.plane.cx.store.system().await?;
            kept_responses::find(&mut tx, &place, self.plane.cx.now()).await
        };
        let found = found.await.map_err(|error| self.plane.unavailable(&error))?;
        Ok(Response::new(found.map_or_else(v1::FindKeptReply::default, |kept| v1::FindKeptReply {
            data_key_version: Some(kept.data_key_version.into()),
            sealed: kept.sealed.into(),
        })))
    }

    async fn delete(&self, request: Request<v1::DeleteKeptRequest>) -> Result<Response<v1::DeleteKeptReply>, Status> {
        let place = self.place(&request, request.get_ref().place.clone()).await?;
        let done = async {
            let mut tx = self.plane.cx.store.system().await?;
            let was_there = kept_responses::delete(&mut tx, &place).await?;
            tx.commit().await.map(|()| was_there)
        };
        let was_there = done.await.map_err(|error| self.plane.unavailable(&error))?;
        Ok(Response::new(v1::DeleteKeptReply { was_there }))
    }
}
