//! Node groups, node revocation and join tokens.

use std::collections::BTreeSet;
use std::time::Duration;

use api::Empty;
use api::ops::nodes::{
    CreateJoinToken, CreateNodeGroup, IssuedJoinTokenView, NodeGroupChange, NodeGroupView, NodeView, RevokeJoinToken,
    RevokeNode, UpdateNodeGroup,
};
use domain::id::IdMint as _;
use domain::node::{Holds, JoinToken, NodeGroup};
use domain::secret::{TokenKind, TokenSecret};
use domain::{JoinTokenId, NodeGroupId, OrganizationId, Permission, Scope};

use crate::queries::nodes::{get, group_view, join_token_view};
use operation::auth::JOIN_SCOPE;
use operation::call::{Call, Head, Reply};
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// Characters of a region.
const MAX_REGION: usize = 80;
/// Organizations that a group may name; more share a fleet that holds all.
const MAX_HELD: usize = 1_000;
/// How long a join token may live, in seconds.
const TTL: std::ops::RangeInclusive<u64> = 60..=86_400;

/// Creates a node group.
pub async fn create_group(call: Call<CreateNodeGroup>) -> Outcome<Reply<NodeGroupView>> {
    let organization = call.organization()?;
    check_region(&call.body.region)?;
    let holds = if call.body.holds_all { Holds::All } else { Holds::Only(vec![organization]) };
    Sharing::look_up(&call).await?.check(&call, &holds, "/holds_all")?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let group = NodeGroup {
        id: NodeGroupId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: organization,
        slug: call.body.slug.clone(),
        region: call.body.region.clone(),
        holds,
        version: 1,
        created_at: call.now(),
    };
    store::nodes::insert_group(&mut write, &permit, &group).await?;
    let view = group_view(group);
    write.audit(Subject::new("node_group", view.id, &view.slug).created("node_group.create", &view));
    write.commit(view).await
}

/// Renames a group, moves it, or changes what its nodes may hold.
///
/// What nodes are told follows from the group's row: each control process compares it with what its streams hold.
pub async fn update_group(call: Call<UpdateNodeGroup>) -> Outcome<Reply<NodeGroupView>> {
    let seen = call.seen_version(call.body.version)?;
    if let Some(region) = &call.body.region {
        check_region(region)?;
    }
    let sharing = Sharing::look_up(&call).await?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut group = store::nodes::get_group(&mut write, call.path.node_group_id).await?;
    let before = group_view(group.clone());
    group.version = seen;
    if let Some(slug) = &call.body.slug {
        group.slug = slug.clone();
    }
    if let Some(region) = &call.body.region {
        group.region.clone_from(region);
    }
    let (holds, pointer) = wanted_holds(&call.body, &group.holds)?;
    if holds != group.holds {
        // Taking a shared fleet away from its tenants is as much the operator's act as sharing it.
        sharing.check(&call, &group.holds, pointer)?;
        sharing.check(&call, &holds, pointer)?;
        group.holds = holds;
    }
    group.version = store::nodes::update_group(&mut write, &permit, &group).await?;
    let after = group_view(group);
    write.audit(Subject::new("node_group", after.id, &after.slug).changed("node_group.update", &before, &after));
    write.commit(after).await
}

/// Reads what a change says about holdings, with the field that says it.
fn wanted_holds(change: &NodeGroupChange, current: &Holds) -> Outcome<(Holds, &'static str)> {
    match (change.holds_all, &change.organization_ids) {
        (Some(true), Some(_)) => Err(Failure::unacceptable("/organization_ids", "leave it out when holds_all is true")),
        (Some(true), None) => Ok((Holds::All, "/holds_all")),
        (Some(false), None) if *current == Holds::All => {
            Err(Failure::unacceptable("/organization_ids", "name the organizations that the nodes may hold"))
        }
        (_, None) => Ok((current.clone(), "/organization_ids")),
        (_, Some(ids)) => {
            let held: BTreeSet<OrganizationId> = ids.iter().copied().collect();
            if held.is_empty() || held.len() > MAX_HELD {
                let detail = format!("name 1 to {MAX_HELD} organizations");
                return Err(Failure::unacceptable("/organization_ids", detail));
            }
            Ok((Holds::Only(held.into_iter().collect()), "/organization_ids"))
        }
    }
}

fn check_region(region: &str) -> Outcome<()> {
    if region.chars().count() > MAX_REGION || region.chars().any(char::is_control) {
        return Err(Failure::unacceptable("/region", format!("use at most {MAX_REGION} printable characters")));
    }
    Ok(())
}

/// What is needed to decide whether a group may hold more than its own organization.
struct Sharing {
    organization: OrganizationId,
    all: Vec<OrganizationId>,
}

impl Sharing {
    async fn look_up(head: &Head) -> Outcome<Self> {
        let mut tx = head.cx.store.system().await?;
        let all = store::organizations::list_all(&mut tx).await?;
        Ok(Self { organization: head.organization()?, all: all.into_iter().map(|it| it.id).collect() })
    }

    /// A group that holds others than its own organization belongs to the installation's first organization and its owners.
    fn check(&self, head: &Head, holds: &Holds, pointer: &str) -> Outcome<()> {
        if matches!(holds, Holds::Only(ids) if ids.iter().all(|id| *id == self.organization)) {
            return Ok(());
        }
        if self.all.first() != Some(&self.organization) {
            let detail = "only the installation's first organization may run nodes for others";
            return Err(Failure::unacceptable(pointer, detail));
        }
        head.caller.actor.permit(Permission::OwnersManage, Scope::Organization(self.organization))?;
        if let Holds::Only(ids) = holds
            && let Some(unknown) = ids.iter().find(|id| !self.all.contains(id))
        {
            return Err(Failure::unacceptable(pointer, format!("{unknown} is not an organization")));
        }
        Ok(())
    }
}

/// Revokes a node: its streams are cut and its certificate is refused. Revoking twice succeeds.
pub async fn revoke(call: Call<RevokeNode>) -> Outcome<Reply<NodeView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let now = call.now();
    let before = get(&mut write, call.path.node_id, now).await?;
    if before.revoked_at.is_some() {
        return Ok(Reply::new(before));
    }
    store::nodes::revoke(&mut write, &permit, before.id, call.now()).await?;
    let after = get(&mut write, before.id, now).await?;
    write.audit(Subject::new("node", after.id, &after.name).changed("node.revoke", &before, &after));
    write.commit(after).await
}

/// Creates a join token for one node of a group.
pub async fn create_join_token(call: Call<CreateJoinToken>) -> Outcome<Reply<IssuedJoinTokenView>> {
    let ttl = call.body.ttl_secs;
    if !TTL.contains(&ttl) {
        return Err(Failure::unacceptable("/ttl_secs", format!("use {} to {}", TTL.start(), TTL.end())));
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let group = store::nodes::get_group(&mut write, call.body.group_id).await.map_err(|error| match error {
        store::StoreError::NotFound(_) => {
            Failure::unacceptable("/group_id", "is not a node group of this organization")
        }
        other => other.into(),
    })?;
    let (token, secret) = issue(&call.cx, &group, Duration::from_secs(ttl));
    store::join_tokens::insert(&mut write, &permit, &token).await?;
    let view = join_token_view(&token);
    write.audit(Subject::new("join_token", view.id, &group.slug).created("join_token.create", &view));
    let command = format!("headgate gateway --control {} --join-token {secret}", call.cx.config.sync_url);
    write.commit(IssuedJoinTokenView { join_token: view, secret, command }).await
}

/// Makes a join token and the text that a node is given: the token and, after a dot, the authority's fingerprint.
pub(crate) fn issue(cx: &Cx, group: &NodeGroup, ttl: Duration) -> (JoinToken, String) {
    let secret = TokenSecret::generate(TokenKind::JoinToken, 'n', cx.entropy.as_ref());
    let now = cx.now();
    let token = JoinToken {
        id: JoinTokenId::from_uuid(cx.mint.next_uuid()),
        organization_id: group.organization_id,
        group_id: group.id,
        kid: secret.kid(),
        mac: secret.mac(&cx.keyring.join_pepper(cx.keyring.version()), JOIN_SCOPE),
        created_at: now,
        expires_at: now.plus(ttl),
    };
    let text = match cx.authority() {
        Some(fingerprint) => format!("{}.{fingerprint}", secret.expose()),
        None => secret.expose().to_owned(),
    };
    (token, text)
}

/// Revokes a join token.
pub async fn revoke_join_token(call: Call<RevokeJoinToken>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    store::join_tokens::delete(&mut write, &permit, call.path.join_token_id).await?;
    write.audit(Subject::new("join_token", call.path.join_token_id, "join token").act("join_token.revoke"));
    write.commit(Empty {}).await
}
