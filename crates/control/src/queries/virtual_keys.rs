//! Virtual keys, without their secrets.

use std::collections::BTreeSet;

use api::ops::virtual_keys::{GetVirtualKey, ListVirtualKeys, VirtualKeyView};
use domain::virtual_key::VirtualKey;
use domain::{Page, Timestamp, UserId, VirtualKeyId, WorkspaceId};
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// Lists virtual keys, newest first.
pub async fn list(call: Call<ListVirtualKeys>) -> Outcome<Reply<Page<VirtualKeyView>>> {
    let (limit, now) = (operation::page::limit(call.query.limit)?, call.now());
    let mut tx = call.read().await?;
    let (workspace, query) = (call.workspace()?, &call.query);
    let page =
        store::virtual_keys::list(&mut tx, workspace, query.environment_id, query.cursor.as_ref(), limit).await?;
    let mut page = page.map(|key| view(key, now));
    name_owners(&mut tx, &mut page.items).await?;
    Ok(Reply::new(page))
}

/// Shows a virtual key.
pub async fn get(call: Call<GetVirtualKey>) -> Outcome<Reply<VirtualKeyView>> {
    let mut tx = call.read().await?;
    let key = find(&mut tx, call.workspace()?, call.path.virtual_key_id).await?;
    Ok(Reply::new(named(&mut tx, view(key, call.now())).await?))
}

/// Returns a key of the workspace; one of another workspace is absent.
pub(crate) async fn find(tx: &mut Tx, workspace: WorkspaceId, id: VirtualKeyId) -> Outcome<VirtualKey> {
    let key = store::virtual_keys::get(tx, id).await?;
    if key.workspace_id == workspace { Ok(key) } else { Err(Failure::not_found()) }
}

/// Says who issued keys, by name: one look-up for all of them.
async fn name_owners(tx: &mut Tx, keys: &mut [VirtualKeyView]) -> Outcome<()> {
    let ids: BTreeSet<UserId> = keys.iter().filter_map(|key| key.created_by).collect();
    let names = store::users::names(tx, &Vec::from_iter(ids)).await?;
    for key in keys {
        key.created_by_name = key.created_by.and_then(|id| names.get(&id).cloned());
    }
    Ok(())
}

/// The view of a key with the name of who issued it. Snapshots of the audit log go without: they are of the key, not of people.
pub(crate) async fn named(tx: &mut Tx, mut view: VirtualKeyView) -> Outcome<VirtualKeyView> {
    name_owners(tx, std::slice::from_mut(&mut view)).await?;
    Ok(view)
}

/// The key as it is, without names of people.
pub(crate) fn view(key: VirtualKey, now: Timestamp) -> VirtualKeyView {
    VirtualKeyView {
        old_secret_retires_at: key.old_secret(now).and_then(|secret| secret.retires_at),
        old_secret_last_used_at: key.old_secret_last_used_at(now),
        id: key.id,
        workspace_id: key.workspace_id,
        environment_id: key.environment_id,
        status: key.status(now),
        name: key.name,
        hint: key.kid.to_string(),
        allowed_models: key.allowed_models,
        created_by: key.created_by,
        created_by_name: None,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        revoked_because: key.revoked_because,
        last_used_at: key.last_used_at,
        version: key.version,
        created_at: key.created_at,
    }
}
