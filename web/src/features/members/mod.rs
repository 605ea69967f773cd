//! Members & roles: who may do what? People with their roles, and the table of roles and permissions.

mod forms;
mod matrix;
mod standing;

use std::time::Duration;

use api::ops::members::{ListMembers, ListWorkspaceMembers, MemberPath, MemberView};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use domain::{MemberId, OrganizationId, Page, Permission, Role, WorkspaceId};
use leptos::prelude::*;

use kit::api::{Query, use_query};
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use ui::Tone;
use ui::avatar::Avatar;
use ui::badge::Badge;
use ui::button::{Button, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::format::number;
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::table::{Column, DataTable};
use ui::tabs::Tabs;
use ui::when::When;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct People {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
    list: Query<Page<MemberView>>,
    /// The workspace whose members are listed, for who may not see all of the organization.
    only: Option<WorkspaceId>,
    adding: RwSignal<bool>,
}

impl People {
    fn may(self, permission: Permission) -> bool {
        self.session.can(permission, self.organization_id)
    }

    fn path(self) -> OrganizationPath {
        OrganizationPath { organization_id: self.organization_id }
    }

    fn member(self, member_id: MemberId) -> MemberPath {
        MemberPath { organization_id: self.organization_id, member_id }
    }

    fn is_oneself(self, member: &MemberView) -> bool {
        self.session.with(|me| me.user.id == member.user_id).unwrap_or(false)
    }

    /// Roles that this person may give: ownership only by owners.
    fn roles(self) -> Vec<(String, String)> {
        let may_own = self.may(Permission::OwnersManage);
        let roles = Role::ALL.iter().filter(|role| may_own || **role != Role::Owner);
        roles.map(|role| (role.as_str().to_owned(), format!("{}: {}", role.title(), role.about()))).collect()
    }

    /// Where a role can be bound: the whole organization, or one workspace.
    fn scopes(self) -> Vec<(String, String)> {
        let workspaces = self.session.workspaces(self.organization_id).into_iter();
        let workspaces =
            workspaces.map(|access| (access.workspace_id.to_string(), format!("Workspace {}", access.name)));
        std::iter::once((String::new(), "Whole organization".to_owned())).chain(workspaces).collect()
    }

    fn scope_name(self, workspace: Option<WorkspaceId>) -> String {
        match workspace {
            None => "organization".to_owned(),
            Some(id) => self.session.workspace_name(id).unwrap_or_else(|| "a workspace you do not see".to_owned()),
        }
    }
}

fn roles_text(people: People, member: &MemberView) -> String {
    let roles = member
        .role_bindings
        .iter()
        .map(|binding| format!("{} ({})", binding.role.title(), people.scope_name(binding.workspace_id)));
    roles.collect::<Vec<_>>().join(", ")
}

fn roles_view(people: People, member: &MemberView) -> AnyView {
    if member.role_bindings.is_empty() {
        return view! { <span class="faint">"none"</span> }.into_any();
    }
    let badges = member.role_bindings.iter().map(|binding| {
        let tone = if binding.role == Role::Owner { Tone::Accent } else { Tone::Neutral };
        let text = match binding.workspace_id {
            None => binding.role.title().to_owned(),
            Some(_) => format!("{} · {}", binding.role.title(), people.scope_name(binding.workspace_id)),
        };
        view! { <Badge tone text /> }
    });
    view! { <span class="row">{badges.collect_view()}</span> }.into_any()
}

/// Whether the membership counts.
fn state(member: &MemberView) -> (Tone, &'static str) {
    if member.disabled_at.is_some() { (Tone::Warn, "Disabled") } else { (Tone::Ok, "Active") }
}

fn columns(people: People) -> Vec<Column<MemberView>> {
    vec![
        Column::new("Name", |member: &MemberView| member.name.to_string()).cell(|member| {
            view! { <Avatar name=member.name.to_string() /> <span>{member.name.to_string()}</span> }.into_any()
        }),
        Column::new("E-mail", |member: &MemberView| member.email.to_string()),
        Column::new("Roles", move |member: &MemberView| roles_text(people, member))
            .cell(move |member| roles_view(people, member)),
        Column::new("State", |member: &MemberView| state(member).1.to_owned()).cell(|member| {
            let (tone, text) = state(member);
            view! { <Badge tone text dot=true /> }.into_any()
        }),
        Column::new("Joined", |member: &MemberView| member.created_at.to_string())
            .sorted_by(|member| number::signed_as_f64(member.created_at.as_micros()))
            .cell(|member| view! { <When at=member.created_at /> }.into_any())
            .wide_only(),
    ]
}

fn members_view(people: People) -> AnyView {
    let selected = people.nav.param("member");
    let ready = Callback::new(move |page: Signal<Page<MemberView>>| {
        view! {
            <DataTable
                label="Members"
                columns=columns(people)
                rows=Signal::derive(move || page.get().items)
                key=|member: &MemberView| member.id.to_string()
                on_open=Callback::new(move |member: MemberView| people.nav.set(&[("member", Some(member.id.to_string()))], false))
                selected=Signal::derive(move || selected.get())
                file_name="members"
            />
        }
        .into_any()
    });
    let only = people.only.map(|workspace| {
        let name = people.scope_name(Some(workspace));
        view! { <div class="card-head"><p>{format!("Those who can see {name}. The members of the whole organization are for its owners, admins and auditors to see.")}</p></div> }
    });
    view! {
        <section class="card" aria-label="List of members">
            {only}
            <DataView load=people.list.load on_retry=people.list.retry() skeleton=Skeleton::Rows(5) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Members title="No members" text="Add the first person of this organization." /> }) ready />
        </section>
    }
    .into_any()
}

/// The page.
#[component]
pub(crate) fn Members(organization_id: OrganizationId) -> impl IntoView {
    let (nav, session) = (use_nav(), use_session());
    let query = || PageQuery { limit: Some(200), cursor: None };
    let here = session.place(nav.page.get_untracked()).and_then(|place| place.workspace);
    let only = here.filter(|_| !session.can(Permission::MembersRead, organization_id));
    let list = match only {
        Some(workspace_id) => {
            use_query::<ListWorkspaceMembers>(move || Some((WorkspacePath { workspace_id }, query())))
        }
        None => use_query::<ListMembers>(move || Some((OrganizationPath { organization_id }, query()))),
    }
    .every(Duration::from_secs(30));
    let people = People { organization_id, nav, session, list, only, adding: RwSignal::new(false) };
    let tab = people.nav.param("tab");
    let panel = Callback::new(move |key: String| {
        if key == "roles" { view! { <matrix::Matrix people /> }.into_any() } else { members_view(people) }
    });
    view! {
        <PageHead title="Members & roles" about="Who may do what? A role holds on the organization and all its workspaces, or on one workspace.">
            {move || {
                people
                    .may(Permission::MembersManage)
                    .then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=Callback::new(move |()| people.adding.set(true)) test_id="add-member">"Add member"</Button> })
            }}
        </PageHead>
        <Tabs
            label="Members and roles"
            tabs=vec![("members", "Members"), ("roles", "Roles & permissions")]
            current=Signal::derive(move || tab.get().unwrap_or_default())
            on_change=Callback::new(move |key: String| people.nav.set(&[("tab", Some(key))], true))
            panel
        />
        <forms::AddDialog people />
        <forms::MemberPanel people />
    }
}
