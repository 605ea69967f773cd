//! Adding a person, giving and taking roles, removing a person.

use api::Empty;
use api::ops::PageQuery;
use api::ops::members::{
    AddMember, AddedMemberView, BindRole, ListMembers, MemberView, NewMember, NewRoleBinding, RemoveMember,
    RoleBindingPath, RoleBindingView, UnbindRole,
};
use domain::{DisplayName, Email, Permission, Role, WorkspaceId};
use leptos::prelude::*;

use super::{People, standing};
use kit::api::{use_act, use_command};
use kit::as_code::as_code;
use kit::ask::use_ask;
use ui::badge::Badge;
use ui::button::{Button, Size, Weight};
use ui::confirm::Question;
use ui::copy_button::CopyId;
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{FormError, InputKind, SelectField, TextField};
use ui::icon::Icon;
use ui::secret_box::SecretBox;
use ui::toast::Toasts;
use ui::when::When;

/// The dialog for a new member; a one-time password leaves the document with it.
#[component]
pub(super) fn AddDialog(people: People) -> impl IntoView {
    let added = RwSignal::new(None::<AddedMemberView>);
    let close = Callback::new(move |()| {
        people.adding.set(false);
        added.set(None);
    });
    view! {
        <Dialog open=people.adding on_close=close title=Signal::stored("Add a member".to_owned())>
            {move || match added.get() {
                None => view! { <AddForm people added close /> }.into_any(),
                Some(added) => added_view(added, close),
            }}
        </Dialog>
    }
}

fn added_view(added: AddedMemberView, close: Callback<()>) -> AnyView {
    let name = added.member.name.to_string();
    let body = match added.one_time_password {
        Some(password) => view! {
            <p>{format!("Give {name} this password by a way you trust. It works for the first sign-in, after which a new one must be chosen.")}</p>
            <SecretBox secret=password what="one-time password" file_name="password.txt" />
        }
        .into_any(),
        None => view! { <p>{format!("{name} is known in this installation and can see the organization at once.")}</p> }.into_any(),
    };
    view! {
        <DialogBody>{body}</DialogBody>
        <DialogFoot><Button weight=Weight::Primary on_press=close>"Done"</Button></DialogFoot>
    }
    .into_any()
}

#[component]
fn AddForm(people: People, added: RwSignal<Option<AddedMemberView>>, close: Callback<()>) -> impl IntoView {
    let (email, name) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (role, scope) = (RwSignal::new(Role::Developer.as_str().to_owned()), RwSignal::new(String::new()));
    let add = use_command::<AddMember>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let fail = |field: &str, text: String| add.errors.set(vec![(field.to_owned(), text)], None);
        let email = match Email::parse(&email.get_untracked()) {
            Ok(email) => email,
            Err(error) => return fail("email", format!("The address {error}.")),
        };
        let name = match DisplayName::parse(&name.get_untracked()) {
            Ok(name) => name,
            Err(error) => return fail("name", format!("A name {error}.")),
        };
        let Ok(role) = role.get_untracked().parse::<Role>() else { return fail("role", "Choose a role.".to_owned()) };
        let body = NewMember { email, name, role, workspace_id: scope.get_untracked().parse().ok() };
        add.run(people.path(), body, move |reply| {
            people.list.refetch();
            added.set(Some(reply));
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="E-mail" value=email kind=InputKind::Text required=true autofocus=true placeholder="ada@example.com" error=add.errors.of("email") />
                <TextField label="Name" value=name required=true placeholder="Ada Lovelace" error=add.errors.of("name") />
                <SelectField label="Role" value=role choices=Signal::derive(move || people.roles()) error=add.errors.of("role") />
                <SelectField label="Holds on" value=scope choices=Signal::derive(move || people.scopes()) error=add.errors.of("workspace_id") />
                <FormError errors=add.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=add.is_busy>"Add member"</Button>
            </DialogFoot>
        </form>
    }
}

/// The panel of one member, open while the address names one.
#[component]
pub(super) fn MemberPanel(people: People) -> impl IntoView {
    let wanted = people.nav.param("member");
    let resetting = RwSignal::new(false);
    let found = Memo::new(move |_| {
        let wanted = wanted.get()?;
        people.list.items().get().into_iter().find(|member| member.id.to_string() == wanted)
    });
    let title =
        Signal::derive(move || found.get().map_or_else(|| "Member".to_owned(), |member| member.name.to_string()));
    let close = Callback::new(move |()| people.nav.set(&[("member", None)], false));
    view! {
        <Dialog open=Signal::derive(move || found.get().is_some()) on_close=close title placement=Placement::Side>
            {move || found.get().map(|member| member_body(people, member, resetting))}
        </Dialog>
        <standing::ResetDialog people found resetting />
    }
}

/// Who takes a role from themself may no longer be able to give it back, so that is asked before and not undone after.
fn unbind_own(people: People, binding: &RoleBindingView) {
    let (toasts, title) = (expect_context::<Toasts>(), binding.role.title());
    let question = Question {
        act: "Take a role from yourself".to_owned(),
        warning: format!("You are no longer {title} on {}", people.scope_name(binding.workspace_id)),
        text: "You may lose sight of this page, and only somebody else may be able to give the role back."
            .to_owned()
            .into(),
        name: title.to_owned(),
    };
    let path = RoleBindingPath { organization_id: people.organization_id, role_binding_id: binding.id };
    use_ask().before::<UnbindRole>(question, path, move |_| {
        toasts.done(format!("{title} is taken away."));
        people.session.reload();
        people.list.refetch();
    });
}

fn binding_line(people: People, member: &MemberView, binding: RoleBindingView) -> AnyView {
    let (member_id, is_own) = (member.id, people.is_oneself(member));
    let unbind = use_act::<UnbindRole>();
    let toasts = expect_context::<Toasts>();
    let may = people.may(Permission::RoleBindingsManage)
        && (binding.role != Role::Owner || people.may(Permission::OwnersManage));
    let bind = use_act::<BindRole>();
    let undo = move || {
        let body = NewRoleBinding { member_id, role: binding.role, workspace_id: binding.workspace_id };
        bind.run(people.path(), body, move |_| people.list.refetch());
    };
    let own = binding.clone();
    let press = Callback::new(move |()| {
        if is_own {
            return unbind_own(people, &own);
        }
        let path = RoleBindingPath { organization_id: people.organization_id, role_binding_id: binding.id };
        unbind.run(path, Empty {}, move |_| {
            toasts.done_with_undo(format!("{} is taken away.", binding.role.title()), undo);
            people.list.refetch();
        });
    });
    view! {
        <li class="row-between node-line">
            <span class="row"><Badge text=binding.role.title() /> <span class="muted">"on " {people.scope_name(binding.workspace_id)}</span></span>
            {may.then(|| view! { <Button size=Size::Small on_press=press>"Take away"</Button> })}
        </li>
    }
    .into_any()
}

fn remove(people: People, member: &MemberView) {
    let (toasts, email) = (expect_context::<Toasts>(), member.email.to_string());
    let question = Question {
        act: "Remove member".to_owned(),
        warning: format!("{} loses access at once", member.name),
        text: "All roles and access tokens in this organization end. Virtual keys that were issued go on working; revoke those that must not.".to_owned().into(),
        name: email.clone(),
    };
    use_ask().before::<RemoveMember>(question, people.member(member.id), move |_| {
        toasts.done(format!("{email} is no longer a member."));
        people.nav.set(&[("member", None)], true);
        people.list.refetch();
    });
}

fn member_body(people: People, member: MemberView, resetting: RwSignal<bool>) -> AnyView {
    let (tone, words) = super::state(&member);
    let may_bind = people.may(Permission::RoleBindingsManage);
    let may_remove = people.may(Permission::MembersManage);
    let bindings =
        member.role_bindings.clone().into_iter().map(|binding| binding_line(people, &member, binding)).collect_view();
    let (for_form, for_remove) = (member.clone(), member.clone());
    let code = as_code::<ListMembers>(&people.path(), &PageQuery::default(), &member);
    let standing = may_remove.then(|| standing::acts(people, &member, resetting));
    view! {
        <DialogBody>
            <dl class="facts">
                <dt>"State"</dt>
                <dd><Badge tone text=words dot=true /></dd>
                <dt>"E-mail"</dt>
                <dd>{member.email.to_string()}</dd>
                <dt>"Joined"</dt>
                <dd><When at=member.created_at /></dd>
                {member.disabled_at.map(|at| view! { <dt>"Disabled"</dt> <dd><When at /></dd> })}
                <dt>"Id"</dt>
                <dd><CopyId id=member.id.to_string() /></dd>
            </dl>
            <section class="stack-tight" aria-label="Roles"><h3>"Roles"</h3><ul>{bindings}</ul></section>
            {may_bind.then(|| view! { <BindForm people member=for_form.clone() /> })}
            {code}
        </DialogBody>
        <DialogFoot>{standing} {may_remove.then(|| view! { <Button weight=Weight::Danger on_press=Callback::new(move |()| remove(people, &for_remove))>"Remove"</Button> })}</DialogFoot>
    }
    .into_any()
}

#[component]
fn BindForm(people: People, member: MemberView) -> impl IntoView {
    let (role, scope) = (RwSignal::new(Role::Viewer.as_str().to_owned()), RwSignal::new(String::new()));
    let bind = use_command::<BindRole>();
    let toasts = expect_context::<Toasts>();
    let member_id = member.id;
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Ok(role) = role.get_untracked().parse::<Role>() else { return };
        let workspace_id: Option<WorkspaceId> = scope.get_untracked().parse().ok();
        bind.run(people.path(), NewRoleBinding { member_id, role, workspace_id }, move |binding| {
            toasts.done(format!("{} is given.", binding.role.title()));
            people.list.refetch();
        });
    };
    view! {
        <form class="stack" on:submit=submit>
            <h3>"Give a role"</h3>
            <SelectField label="Role" value=role choices=Signal::derive(move || people.roles()) error=bind.errors.of("role") />
            <SelectField label="Holds on" value=scope choices=Signal::derive(move || people.scopes()) error=bind.errors.of("workspace_id") />
            <FormError errors=bind.errors />
            <div class="row"><Button submits=true icon=Icon::Plus busy=bind.is_busy>"Give role"</Button></div>
        </form>
    }
}
