//! Settings: the organization itself, its workspaces and environments, and access tokens for the management API.

mod environments;
mod tokens;
mod workspaces;

use api::NoQuery;
use api::ops::OrganizationPath;
use api::ops::organizations::{GetOrganization, OrganizationChange, OrganizationView, UpdateOrganization};
use domain::{DisplayName, OrganizationId, Permission};
use leptos::prelude::*;

use kit::api::{Query, use_command, use_query};
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use ui::button::{Button, Weight};
use ui::copy_button::CopyId;
use ui::data_view::{DataView, Skeleton};
use ui::field::{FormError, SelectField, TextField};
use ui::format::number;
use ui::page_head::PageHead;
use ui::tabs::Tabs;
use ui::toast::Toasts;
use ui::when::When;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Office {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
}

impl Office {
    fn may(self, permission: Permission) -> bool {
        self.session.can(permission, self.organization_id)
    }

    fn path(self) -> OrganizationPath {
        OrganizationPath { organization_id: self.organization_id }
    }
}

/// The page.
#[component]
pub(crate) fn Settings(organization_id: OrganizationId) -> impl IntoView {
    let office = Office { organization_id, nav: use_nav(), session: use_session() };
    let tab = office.nav.param("tab");
    let panel = Callback::new(move |key: String| match key.as_str() {
        "workspaces" => view! { <workspaces::Workspaces office /> }.into_any(),
        "environments" => view! { <environments::EnvironmentsTab office /> }.into_any(),
        "tokens" => view! { <tokens::Tokens office /> }.into_any(),
        _ => view! { <General office /> }.into_any(),
    });
    view! {
        <PageHead title="Settings" about="The organization, its workspaces and environments, and tokens for the management API." />
        <Tabs
            label="Settings"
            tabs=vec![("general", "General"), ("workspaces", "Workspaces"), ("environments", "Environments"), ("tokens", "Access tokens")]
            current=Signal::derive(move || tab.get().unwrap_or_default())
            on_change=Callback::new(move |key: String| office.nav.set(&[("tab", Some(key))], true))
            panel
        />
    }
}

#[component]
fn General(office: Office) -> impl IntoView {
    let query = use_query::<GetOrganization>(move || Some((office.path(), NoQuery {})));
    let ready = Callback::new(move |organization: Signal<OrganizationView>| {
        (move || general_view(office, organization.get(), query)).into_any()
    });
    view! {
        <section class="card card-pad" aria-label="Organization">
            <DataView load=query.load on_retry=query.retry() skeleton=Skeleton::Rows(5) is_empty=|_| false empty=ViewFn::from(|| ()) ready />
        </section>
    }
}

fn general_view(office: Office, organization: OrganizationView, query: Query<OrganizationView>) -> AnyView {
    let may = office.may(Permission::OrganizationUpdate);
    let for_form = organization.clone();
    view! {
        <div class="columns-2">
            <dl class="facts">
                <dt>"Slug"</dt>
                <dd><code>{organization.slug.to_string()}</code></dd>
                <dt>"Id"</dt>
                <dd><CopyId id=organization.id.to_string() /></dd>
                <dt>"Policy revision"</dt>
                <dd class="number">{number::grouped(organization.policy_revision)}</dd>
                <dt>"Created"</dt>
                <dd><When at=organization.created_at /></dd>
            </dl>
            {if may {
                view! { <GeneralForm office organization=for_form query /> }.into_any()
            } else {
                view! { <p class="muted">"Only owners and admins change these settings."</p> }.into_any()
            }}
        </div>
    }
    .into_any()
}

/// Spans of time to choose from, the present one among them.
fn spans(usual: &[(&str, &str)], current: u64) -> Vec<(String, String)> {
    let mut all: Vec<_> = usual.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let key = current.to_string();
    if !all.iter().any(|span| span.0 == key) {
        all.insert(0, (key, format!("{} seconds", number::grouped(current))));
    }
    all
}

#[component]
fn GeneralForm(office: Office, organization: OrganizationView, query: Query<OrganizationView>) -> impl IntoView {
    let name = RwSignal::new(organization.name.to_string());
    let stale = RwSignal::new(organization.max_stale_secs.to_string());
    let update = use_command::<UpdateOrganization>();
    let toasts = expect_context::<Toasts>();
    let retention = RwSignal::new(organization.response_retention_secs.to_string());
    let hour = ("3600", "One hour");
    let days = [("86400", "One day"), ("604800", "One week"), ("2592000", "30 days")];
    let ages = spans(&[&[hour][..], &days].concat(), organization.max_stale_secs);
    let kept = [&[("0", "Not at all")][..], &days, &[("7776000", "90 days"), ("31536000", "One year")]].concat();
    let kept = spans(&kept, organization.response_retention_secs);
    let version = organization.version;
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Ok(name) = DisplayName::parse(&name.get_untracked()) else {
            return update
                .errors
                .set(vec![("name".to_owned(), "Give it a name of 1 to 80 characters.".to_owned())], None);
        };
        let body = OrganizationChange {
            version: Some(version),
            name: Some(name),
            max_stale_secs: stale.get_untracked().parse().ok(),
            response_retention_secs: retention.get_untracked().parse().ok(),
        };
        update.run(office.path(), body, move |_| {
            toasts.done("Saved.");
            query.refetch();
            office.session.reload();
        });
    };
    view! {
        <form class="stack" on:submit=submit>
            <TextField label="Name" value=name required=true error=update.errors.of("name") />
            <SelectField
                label="Serve without the control plane for"
                value=stale
                choices=Signal::stored(ages)
                hint="A node that cannot reach the control plane goes on verifying keys this long, then refuses with policy_stale."
                error=update.errors.of("max_stale_secs")
            />
            <SelectField
                label="Keep stored responses for"
                value=retention
                choices=Signal::stored(kept)
                hint="Answers of the Responses surface that a later call names with previous_response_id. Only nodes can read them."
                error=update.errors.of("response_retention_secs")
            />
            <FormError errors=update.errors />
            <div class="row"><Button submits=true weight=Weight::Primary busy=update.is_busy>"Save"</Button></div>
        </form>
    }
}
