//! Changes of policy as marks on charts: routes, deployments, prices and credentials, from the audit log.
//!
//! Only for those who may read that log. Keys are left out: they are issued all day and change nothing for other callers.

use std::time::Duration;

use api::ops::OrganizationPath;
use api::ops::audit::{AuditEntryView, AuditQuery, ListAuditEntries};
use domain::audit::AuditOutcome;
use domain::{Page as ListPage, Permission, WorkspaceId};
use leptos::prelude::*;
use ui::browser;
use ui::chart::Marker;

use kit::api::{Query, use_query};
use kit::nav::Nav;
use kit::page::{OrganizationPage, Page};
use kit::session::Session;
use model::words::sentence;

/// Aggregates whose changes explain traffic, as prefixes of actions.
const KINDS: [&str; 4] = ["route.", "deployment.", "price.", "credential."];

/// Says whether an entry is a change that this workspace feels.
fn is_felt(entry: &AuditEntryView, workspace: WorkspaceId) -> bool {
    entry.outcome == AuditOutcome::Success && entry.workspace_id.is_none_or(|id| id == workspace)
}

fn marker(entry: &AuditEntryView, organization: domain::OrganizationId) -> Marker {
    // The page of the log finds an entry in its range.
    let around = Duration::from_secs(1_800);
    let path = Page::Organization(organization, OrganizationPage::Audit).path();
    let (from, to) = (entry.at.minus(around), entry.at.plus(around));
    Marker { at: entry.at, text: sentence(entry), href: format!("{path}?from={from}&to={to}&entry={}", entry.id) }
}

/// The marks of the page's time range.
pub(crate) fn use_markers(workspace_id: WorkspaceId, nav: Nav, session: Session) -> Signal<Vec<Marker>> {
    let ask = move |kind: &'static str| {
        use_query::<ListAuditEntries>(move || {
            let organization_id = session.organization_of(workspace_id)?;
            let (from, to) = nav.range().get().bounds(browser::now());
            let query = AuditQuery {
                from: Some(from),
                to: Some(to),
                action: Some(kind.to_owned()),
                limit: Some(100),
                ..AuditQuery::default()
            };
            session.can(Permission::AuditRead, organization_id).then_some((OrganizationPath { organization_id }, query))
        })
        .every(Duration::from_secs(60))
    };
    let lists: [Query<ListPage<AuditEntryView>>; 4] = KINDS.map(ask);
    Signal::derive(move || {
        let Some(organization) = session.organization_of(workspace_id) else { return Vec::new() };
        let entries = lists.iter().flat_map(|list| list.items().get());
        entries.filter(|entry| is_felt(entry, workspace_id)).map(|entry| marker(&entry, organization)).collect()
    })
}
