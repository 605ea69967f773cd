//! Signing in, and choosing a password of one's own when the first one was given.

use api::Empty;
use api::ops::NoPath;
use api::ops::auth::{ChangePassword, Login, Logout, NewLogin, PasswordChange};
use leptos::prelude::*;

use kit::api::{use_act, use_command};
use kit::session::Session;
use ui::button::{Button, Weight};
use ui::field::{FormError, InputKind, TextField};
use ui::icon::Mark;

#[component]
fn Frame(#[prop(into)] title: String, #[prop(into)] about: String, children: Children) -> impl IntoView {
    view! {
        <main class="sign-in">
            <div class="sign-in-card">
                <Mark />
                <h1>{title}</h1>
                <p class="muted">{about}</p>
                {children()}
            </div>
        </main>
    }
}

/// The sign-in form. The address stays as it is, so one lands where one wanted to go.
#[component]
pub(crate) fn SignIn(session: Session) -> impl IntoView {
    let (email, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let login = use_command::<Login>();
    document().set_title("Sign in · Headgate");
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = NewLogin { email: email.get_untracked().trim().to_owned(), password: password.get_untracked() };
        login.run(NoPath {}, body, move |me| session.signed_in(me));
    };
    view! {
        <Frame title="Sign in to Headgate" about="The gateway to your language models.">
            <form class="stack" on:submit=submit>
                <TextField label="E-mail" value=email kind=InputKind::Email name="email" required=true autofocus=true error=login.errors.of("email") />
                <TextField label="Password" value=password kind=InputKind::Password name="password" required=true error=login.errors.of("password") />
                <FormError errors=login.errors />
                <Button submits=true weight=Weight::Primary busy=login.is_busy>"Sign in"</Button>
            </form>
        </Frame>
    }
}

/// The form for a first password of one's own.
#[component]
pub(crate) fn NewPassword(session: Session) -> impl IntoView {
    let (current, wanted) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let change = use_command::<ChangePassword>();
    let leave = use_act::<Logout>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = PasswordChange { current_password: current.get_untracked(), new_password: wanted.get_untracked() };
        change.run(NoPath {}, body, move |_| session.reload());
    };
    view! {
        <Frame title="Choose your password" about="The one you were given works only this once.">
            <form class="stack" on:submit=submit>
                <TextField label="Password you were given" value=current kind=InputKind::Password required=true error=change.errors.of("current_password") />
                <TextField label="New password" value=wanted kind=InputKind::NewPassword required=true hint="At least 12 characters; a few unrelated words are good." error=change.errors.of("new_password") />
                <FormError errors=change.errors />
                <Button submits=true weight=Weight::Primary busy=change.is_busy>"Save and continue"</Button>
                <Button weight=Weight::Ghost on_press=Callback::new(move |()| leave.run(NoPath {}, Empty {}, move |_| session.signed_out()))>"Sign out"</Button>
            </form>
        </Frame>
    }
}
