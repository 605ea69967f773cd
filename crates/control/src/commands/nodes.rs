//! Node groups, node revocation and join tokens.

use std::time::Duration;

use api::Empty;
use api::ops::nodes::{
    CreateJoinToken, CreateNodeGroup, IssuedJoinTokenView, NodeGroupView, NodeView, RevokeJoinToken, RevokeNode,
};
use domain::id::IdMint as _;
use domain::node::{Holds, JoinToken, NodeGroup};
use domain::secret::{TokenKind, TokenSecret};
use domain::{JoinTokenId, NodeGroupId, OrganizationId, Permission, Scope};

use crate::auth::JOIN_SCOPE;
use crate::call::{Call, Reply};
use crate::commands::audit::Subject;
use crate::cx::Cx;
use crate::error::{Failure, Outcome};
use crate::keyring::PEPPER_VERSION;
use crate::queries::nodes::{get, group_view, join_token_view};

/// How long a join token may live, in seconds.
const TTL: std::ops::RangeInclusive<u64> = 60..=86_400;

/// Creates a node group.
pub async fn create_group(call: Call<CreateNodeGroup>) -> Outcome<Reply<NodeGroupView>> {
    let organization = call.organization()?;
    if call.body.region.chars().count() > 80 || call.body.region.chars().any(char::is_control) {
        return Err(Failure::unacceptable("/region", "use at most 80 printable characters"));
    }
    if call.body.holds_all {
        check_operator(&call, organization).await?;
    }
    let mut write = call.write().await?;
    let permit = write.permit();
    let group = NodeGroup {
        id: NodeGroupId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: organization,
        slug: call.body.slug.clone(),
        region: call.body.region.clone(),
        holds: if call.body.holds_all { Holds::All } else { Holds::Only(vec![organization]) },
        version: 1,
        created_at: call.now(),
    };
    store::nodes::insert_group(&mut write, &permit, &group).await?;
    let view = group_view(group);
    write.audit(Subject::new("node_group", view.id, &view.slug).created("node_group.create", &view));
    write.commit(view).await
}

/// A group that holds every organization belongs to the installation's first organization and its owners.
async fn check_operator(call: &Call<CreateNodeGroup>, organization: OrganizationId) -> Outcome<()> {
    let mut tx = call.cx.store.system().await?;
    let first = store::organizations::list_all(&mut tx).await?.first().map(|organization| organization.id);
    if first != Some(organization) {
        return Err(Failure::unacceptable(
            "/holds_all",
            "only the installation's first organization may run nodes for all",
        ));
    }
    call.caller.actor.permit(Permission::OwnersManage, Scope::Organization(organization))?;
    Ok(())
}

/// Revokes a node: its streams are cut and its certificate is refused. Revoking twice succeeds.
pub async fn revoke(call: Call<RevokeNode>) -> Outcome<Reply<NodeView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let before = get(&mut write, call.path.node_id).await?;
    if before.revoked_at.is_some() {
        return Ok(Reply::new(before));
    }
    store::nodes::revoke(&mut write, &permit, before.id, call.now()).await?;
    let after = get(&mut write, before.id).await?;
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
        mac: secret.mac(&cx.keyring.join_pepper(PEPPER_VERSION), JOIN_SCOPE),
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
