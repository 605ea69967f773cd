//! One's own account: who one is and what one holds, the look, the password, the signed-in browsers.

use std::time::Duration;

use api::Empty;
use api::ops::auth::{ChangePassword, ListSessions, PasswordChange, RevokeSession, SessionPath, SessionView};
use api::ops::{NoPath, PageQuery};
use domain::Page;
use leptos::prelude::*;

use crate::theme::{Choice, Theme};
use kit::api::{Query, use_act, use_command, use_query};
use kit::session::{Session, use_session};
use ui::Tone;
use ui::badge::Badge;
use ui::button::{Button, Size, Weight};
use ui::copy_button::CopyId;
use ui::data_view::{DataView, Skeleton};
use ui::field::{FormError, InputKind, TextField};
use ui::page_head::PageHead;
use ui::segmented::{Segment, Segmented};
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::When;

/// The page.
#[component]
pub(crate) fn Account() -> impl IntoView {
    let session = use_session();
    view! {
        <PageHead title="Your account" about="Who you are here, your password, and where you are signed in." />
        <div class="columns-2">
            <Profile session />
            <Password />
        </div>
        <Sessions />
    }
}

#[component]
fn Profile(session: Session) -> impl IntoView {
    let theme = expect_context::<Theme>();
    let segments = Signal::stored(Choice::ALL.map(|choice| Segment::new(choice.key(), choice.title())).to_vec());
    let facts = move || {
        session.with(|me| {
            let memberships = me.organizations.iter().map(|membership| {
                let roles = membership.roles.iter().map(|role| role.title()).collect::<Vec<_>>().join(", ");
                let roles = if roles.is_empty() { "on single workspaces".to_owned() } else { roles };
                view! { <dt>{membership.name.to_string()}</dt> <dd>{roles}</dd> }
            });
            view! {
                <dl class="facts">
                    <dt>"Name"</dt>
                    <dd>{me.user.name.to_string()}</dd>
                    <dt>"E-mail"</dt>
                    <dd>{me.user.email.to_string()}</dd>
                    <dt>"Id"</dt>
                    <dd><CopyId id=me.user.id.to_string() /></dd>
                    {memberships.collect_view()}
                </dl>
            }
        })
    };
    view! {
        <section class="card" aria-labelledby="profile">
            <div class="card-head"><h2 id="profile">"Profile"</h2></div>
            <div class="card-body stack">
                {facts}
                <div class="row">
                    <span class="muted">"Theme"</span>
                    <Segmented label="Theme of the console" segments value=Signal::derive(move || theme.0.get().key().to_owned()) on_change=Callback::new(move |key: String| theme.0.set(Choice::find(&key))) />
                </div>
            </div>
        </section>
    }
}

#[component]
fn Password() -> impl IntoView {
    let (current, wanted) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let change = use_command::<ChangePassword>();
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = PasswordChange { current_password: current.get_untracked(), new_password: wanted.get_untracked() };
        change.run(NoPath {}, body, move |_| {
            current.set(String::new());
            wanted.set(String::new());
            toasts.done("Your password is changed; every other browser is signed out.");
        });
    };
    view! {
        <section class="card" aria-labelledby="password">
            <div class="card-head"><div><h2 id="password">"Password"</h2><p>"Changing it signs every other browser out."</p></div></div>
            <form class="card-body stack" on:submit=submit>
                <TextField label="Current password" value=current kind=InputKind::Password required=true error=change.errors.of("current_password") />
                <TextField label="New password" value=wanted kind=InputKind::NewPassword required=true hint="At least 12 characters; a few unrelated words are good." error=change.errors.of("new_password") />
                <FormError errors=change.errors />
                <div class="row"><Button submits=true weight=Weight::Primary busy=change.is_busy>"Change password"</Button></div>
            </form>
        </section>
    }
}

/// The browser's name inside its own long description.
fn browser_name(agent: &str) -> String {
    let known =
        [("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl")];
    let system = [
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("Linux", "Linux"),
    ];
    let find = |list: &[(&str, &'static str)]| list.iter().find(|entry| agent.contains(entry.0)).map(|entry| entry.1);
    match (find(&known), find(&system)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => agent.chars().take(40).collect(),
    }
}

fn columns(list: Query<Page<SessionView>>) -> Vec<Column<SessionView>> {
    let revoke = use_act::<RevokeSession>();
    let toasts = expect_context::<Toasts>();
    let press = move |session_id| {
        Callback::new(move |()| {
            revoke.run(SessionPath { session_id }, Empty {}, move |_| {
                toasts.done("That browser is signed out.");
                list.refetch();
            });
        })
    };
    vec![
        Column::new("Browser", |session: &SessionView| browser_name(session.user_agent.as_deref().unwrap_or("unknown"))).cell(|session| {
            let name = browser_name(session.user_agent.as_deref().unwrap_or("unknown"));
            view! { <span class="row"><span class="strong">{name}</span> {session.is_current.then(|| view! { <Badge tone=Tone::Ok text="This one" /> })}</span> }.into_any()
        }),
        Column::new("Address", |session: &SessionView| session.ip.clone().unwrap_or_default()).wide_only(),
        Column::new("Last seen", |session: &SessionView| session.last_seen_at.to_string()).cell(|session| view! { <When at=session.last_seen_at /> }.into_any()),
        Column::new("Signed in", |session: &SessionView| session.created_at.to_string()).cell(|session| view! { <When at=session.created_at /> }.into_any()).wide_only(),
        Column::acts(move |session: &SessionView| {
            let on_press = press(session.id);
            (!session.is_current).then(|| view! { <Button size=Size::Small on_press>"Sign out"</Button> }).into_any()
        }),
    ]
}

#[component]
fn Sessions() -> impl IntoView {
    let list = use_query::<ListSessions>(move || Some((NoPath {}, PageQuery { limit: Some(100), cursor: None })))
        .every(Duration::from_secs(60));
    let columns = StoredValue::new(columns(list));
    let ready = Callback::new(move |page: Signal<Page<SessionView>>| {
        view! { <DataTable label="Sessions" columns=columns.get_value() rows=Signal::derive(move || page.get().items) key=|session: &SessionView| session.id.to_string() /> }.into_any()
    });
    view! {
        <section class="card" aria-labelledby="sessions">
            <div class="card-head"><div><h2 id="sessions">"Signed-in browsers"</h2><p>"Sign out what you do not know, then change your password."</p></div></div>
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(2) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| ()) ready />
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36";
        assert_eq!(browser_name(chrome), "Chrome on Linux");
        assert_eq!(browser_name("curl/8.5"), "curl");
    }
}
