//! Credentials, without their secrets.

use api::ops::credentials::{CredentialView, GetCredential, ListCredentials};
use domain::Page;
use domain::credential::Credential;
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// Lists credentials, newest first.
pub async fn list(call: Call<ListCredentials>) -> Outcome<Reply<Page<CredentialView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::credentials::list(&mut tx, call.query.cursor.as_ref(), limit).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for credential in page.items {
        items.push(view(&mut tx, &credential).await?);
    }
    Ok(Reply::new(Page { items, next_cursor: page.next_cursor }))
}

/// Shows a credential.
pub async fn get(call: Call<GetCredential>) -> Outcome<Reply<CredentialView>> {
    let mut tx = call.read().await?;
    let credential = store::credentials::get(&mut tx, call.path.credential_id).await?;
    if credential.archived_at.is_some() {
        return Err(Failure::not_found());
    }
    Ok(Reply::new(view(&mut tx, &credential).await?))
}

pub(crate) async fn view(tx: &mut Tx, credential: &Credential) -> Outcome<CredentialView> {
    let used = store::deployments::list_by_credential(tx, credential.id).await?;
    Ok(CredentialView {
        id: credential.id,
        provider: credential.provider.clone(),
        name: credential.name.clone(),
        base_url: credential.base_url.clone(),
        hint: credential.hint.clone(),
        has_secret: credential.secret.is_some(),
        allows_passthrough: credential.allows_passthrough,
        data_policy: credential.data_policy,
        n_deployments: used.len() as u64,
        version: credential.version,
        created_at: credential.created_at,
        updated_at: credential.updated_at,
    })
}
