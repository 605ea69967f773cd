//! Organizations as their members see them.

use api::ops::organizations::{GetOrganization, ListOrganizations, OrganizationView};
use domain::Page;
use domain::organization::Organization;
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// Lists the organizations one belongs to.
pub async fn list(call: Call<ListOrganizations>) -> Outcome<Reply<Page<OrganizationView>>> {
    let mut views = Vec::new();
    for id in call.caller.actor.organizations() {
        let mut tx = call.cx.store.read(id).await?;
        let organization = store::organizations::get(&mut tx).await?;
        views.push(view(&mut tx, organization).await?);
    }
    let limit = operation::page::limit(call.query.limit)?;
    Ok(Reply::new(operation::page::slice(views, call.query.cursor.as_ref(), limit, |view| view.id.to_string())?))
}

/// Shows an organization.
pub async fn get(call: Call<GetOrganization>) -> Outcome<Reply<OrganizationView>> {
    let mut tx = call.read().await?;
    let organization = store::organizations::get(&mut tx).await?;
    Ok(Reply::new(view(&mut tx, organization).await?))
}

pub(crate) async fn view(tx: &mut Tx, organization: Organization) -> Outcome<OrganizationView> {
    let policy_revision = store::changes::revision(tx).await?;
    Ok(OrganizationView {
        id: organization.id,
        slug: organization.slug,
        name: organization.name,
        max_stale_secs: organization.max_stale.as_secs(),
        response_retention_secs: organization.response_retention.as_secs(),
        policy_revision,
        version: organization.version,
        created_at: organization.created_at,
    })
}
