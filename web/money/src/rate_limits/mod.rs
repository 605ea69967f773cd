//! Rate limits: how much in what span of time, for whom. The whole organization's first, then each workspace's.

mod form;
mod panel;

use std::time::Duration;

use api::ops::rate_limits::{
    ListOrganizationRateLimits, ListRateLimits, OrganizationRateLimitPath, RateLimitPath, RateLimitView,
};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use domain::{OrganizationId, Page, Permission, WorkspaceId};
use kit::api::{Query, use_query};
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use leptos::prelude::*;
use model::amounts::rate_words;
use model::subject::{conditions, dimension_text};
use ui::Tone;
use ui::badge::{Badge, Tag};
use ui::button::{Button, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::table::{Column, DataTable};
use ui::when::When;

use crate::names::{Names, use_names};

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Desk {
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
    nav: Nav,
    session: Session,
    names: Names,
    list: Query<Page<RateLimitView>>,
    editing: RwSignal<Option<RateLimitView>>,
}

impl Desk {
    /// Whether the person sees the limits of all workspaces.
    fn sees_all(self) -> bool {
        self.session.can(Permission::RateLimitsRead, self.organization_id)
    }

    fn manages_all(self) -> bool {
        self.session.can(Permission::RateLimitsManage, self.organization_id)
    }

    fn manages_here(self) -> bool {
        self.session.can_in(Permission::RateLimitsManage, self.workspace_id)
    }

    fn manages(self, limit: &RateLimitView) -> bool {
        self.manages_all() || limit.workspace_id == Some(self.workspace_id) && self.manages_here()
    }

    fn path(self, limit: &RateLimitView) -> RateLimitPath {
        RateLimitPath { workspace_id: self.workspace_id, rate_limit_id: limit.id }
    }

    fn wide_path(self, limit: &RateLimitView) -> OrganizationRateLimitPath {
        OrganizationRateLimitPath { organization_id: self.organization_id, rate_limit_id: limit.id }
    }

    fn open(self, id: Option<String>) {
        self.nav.set(&[("limit", id), ("new", None)], false);
    }

    fn place_name(self, workspace: Option<WorkspaceId>) -> String {
        match workspace {
            None => "Whole organization".to_owned(),
            Some(id) => self.session.workspace_name(id).unwrap_or_else(|| id.to_string()),
        }
    }

    /// Which calls count, in one line.
    fn whom(self, limit: &RateLimitView) -> String {
        let lines = conditions(&limit.subject, &|id| self.names.find(id));
        if lines.is_empty() {
            return "Every call".to_owned();
        }
        lines.into_iter().map(|(name, text)| format!("{name}: {text}")).collect::<Vec<_>>().join(" · ")
    }
}

fn state(limit: &RateLimitView) -> (Tone, &'static str) {
    if limit.is_enabled { (Tone::Ok, "On") } else { (Tone::Neutral, "Off") }
}

fn apart_text(limit: &RateLimitView) -> String {
    limit.group_by.iter().map(dimension_text).collect::<Vec<_>>().join(", ")
}

fn columns(desk: Desk) -> Vec<Column<RateLimitView>> {
    vec![
        Column::new("Name", |limit: &RateLimitView| limit.name.to_string()),
        Column::new("State", |limit: &RateLimitView| state(limit).1.to_owned()).cell(|limit| {
            let (tone, text) = state(limit);
            view! { <Badge tone text dot=true /> }.into_any()
        }),
        Column::new("Of", move |limit: &RateLimitView| desk.place_name(limit.workspace_id)),
        Column::new("Limits", |limit: &RateLimitView| {
            limit.rates.iter().map(rate_words).collect::<Vec<_>>().join(", ")
        })
        .cell(|limit| {
            let rates = limit.rates.iter().map(|rate| view! { <span class="number">{rate_words(rate)}</span> });
            view! { <span class="stack-hair rate-cell">{rates.collect_view()}</span> }.into_any()
        }),
        Column::new("For", apart_text)
            .cell(|limit| {
                let tags = limit.group_by.iter().map(|by| view! { <Tag text=dimension_text(by) /> }).collect_view();
                if limit.group_by.is_empty() {
                    return view! { <span class="muted">"all together"</span> }.into_any();
                }
                view! { <span class="row-tags">{tags}</span> }.into_any()
            })
            .wide_only(),
        Column::new("Counts", move |limit: &RateLimitView| desk.whom(limit))
            .cell(move |limit| {
                let limit = limit.clone();
                view! { <span class="muted small">{move || desk.whom(&limit)}</span> }.into_any()
            })
            .wide_only(),
        Column::new("Changed", |limit: &RateLimitView| limit.updated_at.to_string())
            .cell(|limit| view! { <When at=limit.updated_at /> }.into_any())
            .wide_only(),
    ]
}

/// The page.
#[component]
pub fn RateLimits(organization_id: OrganizationId, workspace_id: WorkspaceId) -> impl IntoView {
    let session = use_session();
    let query = || PageQuery { limit: Some(200), cursor: None };
    let sees_all = untrack(|| session.can(Permission::RateLimitsRead, organization_id));
    let list = if sees_all {
        use_query::<ListOrganizationRateLimits>(move || Some((OrganizationPath { organization_id }, query())))
    } else {
        use_query::<ListRateLimits>(move || Some((WorkspacePath { workspace_id }, query())))
    };
    let desk = Desk {
        organization_id,
        workspace_id,
        nav: use_nav(),
        session,
        names: use_names(Signal::stored(Some(workspace_id))),
        list: list.every(Duration::from_secs(30)),
        editing: RwSignal::new(None),
    };
    let selected = desk.nav.param("limit");
    let create = Callback::new(move |()| desk.nav.set(&[("new", Some("1".to_owned()))], false));
    let ready = Callback::new(move |page: Signal<Page<RateLimitView>>| {
        view! {
            <DataTable
                label="Rate limits"
                columns=columns(desk)
                rows=Signal::derive(move || page.get().items)
                key=|limit: &RateLimitView| limit.id.to_string()
                on_open=Callback::new(move |limit: RateLimitView| desk.open(Some(limit.id.to_string())))
                selected=Signal::derive(move || selected.get())
                file_name="rate-limits"
            />
        }
        .into_any()
    });
    view! {
        <PageHead title="Rate limits" about="How much in what span of time, and for whom. A call is admitted when every limit that binds it has room; spans slide.">
            {move || desk.manages_here().then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create test_id="create-limit">"Create rate limit"</Button> })}
        </PageHead>
        <section class="card" aria-label="List of rate limits">
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(5) is_empty=|page| page.items.is_empty() empty=ViewFn::from(move || empty(desk)) ready />
        </section>
        <form::CreateDialog desk />
        <form::EditDialog desk />
        <panel::LimitPanel desk />
    }
}

fn empty(desk: Desk) -> AnyView {
    let create = Callback::new(move |()| desk.nav.set(&[("new", Some("1".to_owned()))], false));
    view! {
        <EmptyState icon=Icon::Clock title="No rate limits yet" text="A rate limit caps requests, tokens, dollars or calls at once, such as 60 requests per minute for each end user. For money over days and months, use a budget.">
            {desk.manages_here().then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create>"Create a rate limit"</Button> })}
        </EmptyState>
    }
    .into_any()
}
