//! Access tokens, without their secrets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use api::ops::access_tokens::{AccessTokenView, ListAccessTokens};
use domain::access_token::AccessToken;
use domain::{Email, Page, Permission, Scope, Timestamp};

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// Lists one's own tokens, or everybody's with the permission to see them.
pub async fn list(call: Call<ListAccessTokens>) -> Outcome<Reply<Page<AccessTokenView>>> {
    let (limit, now) = (operation::page::limit(call.query.limit)?, call.now());
    let here = Scope::Organization(call.organization()?);
    let only = if call.caller.actor.may(Permission::AccessTokensRead, here) { None } else { Some(call.user()?) };
    let mut tx = call.read().await?;
    let page = store::access_tokens::list(&mut tx, only, call.query.cursor.as_ref(), limit).await?;
    drop(tx);
    // Owners who have left the organization are visible to the system only.
    let mut system = call.cx.store.system().await?;
    let mut emails = BTreeMap::new();
    for token in &page.items {
        if let Entry::Vacant(place) = emails.entry(token.user_id) {
            place.insert(store::users::get(&mut system, token.user_id).await?.email);
        }
    }
    let mut items = Vec::with_capacity(page.items.len());
    for token in page.items {
        if let Some(email) = emails.get(&token.user_id) {
            items.push(view(token, email.clone(), now));
        }
    }
    Ok(Reply::new(Page { items, next_cursor: page.next_cursor }))
}

pub(crate) fn view(token: AccessToken, email: Email, now: Timestamp) -> AccessTokenView {
    AccessTokenView {
        old_secret_retires_at: token.retiring(now).map(|old| old.retires_at),
        old_secret_last_used_at: token.retiring(now).and_then(|old| old.last_used_at),
        rotated_at: token.rotated_at,
        id: token.id,
        user_id: token.user_id,
        email,
        name: token.name,
        hint: token.kid.to_string(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
        revoked_because: token.revoked_because,
        last_used_at: token.last_used_at,
    }
}
