//! Copies catalog prices that came with a new release into the price books of organizations that use those models.

use std::collections::BTreeSet;

use domain::audit::Audit;
use domain::id::IdMint as _;
use domain::{AuditEntryId, JobName, OrganizationId, Permit, Scope};
use store::AuditDraft;

use crate::commands::deployments::{copy_prices, lacks_prices};
use operation::cx::Cx;
use operation::error::Outcome;
use operation::trail::Subject;

pub(super) async fn run(cx: &Cx) -> Outcome<()> {
    let mut tx = cx.store.system().await?;
    let organizations = store::organizations::list_all(&mut tx).await?;
    drop(tx);
    for organization in organizations {
        copy(cx, organization.id).await?;
    }
    Ok(())
}

async fn copy(cx: &Cx, organization: OrganizationId) -> Outcome<()> {
    let mut tx = cx.store.read(organization).await?;
    let mut models = BTreeSet::new();
    let mut wanting = Vec::new();
    for deployment in store::deployments::load(&mut tx, None).await? {
        let is_new = models.insert(owned(deployment.known_as()));
        if is_new && deployment.archived_at.is_none() && lacks_prices(&mut tx, &deployment).await? {
            wanting.push(deployment);
        }
    }
    drop(tx);
    if wanting.is_empty() {
        return Ok(());
    }
    let permit = Permit::system(JobName::PriceBook, Scope::Organization(organization));
    let mut tx = cx.store.write(organization).await?;
    for deployment in &wanting {
        copy_prices(cx, &mut tx, &permit, deployment).await?;
        let (provider, name) = deployment.known_as();
        let name = format!("{provider}/{name}");
        let audit: Audit = Subject::new("price", "", name).act("price.copy");
        let id = AuditEntryId::from_uuid(cx.mint.next_uuid());
        tx.audit(&permit, AuditDraft { id, at: cx.now(), actor_name: "price book".to_owned(), audit });
    }
    tx.commit().await?;
    Ok(())
}

fn owned((provider, name): (&str, &str)) -> (String, String) {
    (provider.to_owned(), name.to_owned())
}
