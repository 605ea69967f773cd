//! Access tokens: secrets for the management API, owned by a person and as strong as that person.

use std::time::Duration;

use api::field::Field;
use api::ops::PageQuery;
use api::ops::access_tokens::{
    AccessTokenPath, AccessTokenView, CreateAccessToken, IssuedAccessTokenView, ListAccessTokens, NewAccessToken,
    RevokeAccessToken, RotateAccessToken, TokenRotation,
};
use domain::{DisplayName, Page, Permission, Timestamp};
use leptos::prelude::*;

use super::Office;
use kit::api::{Query, use_command, use_query};
use kit::ask::use_ask;
use kit::rotation::RotateForm;
use ui::Tone;
use ui::badge::Badge;
use ui::browser;
use ui::button::{Button, Size, Weight};
use ui::code_block::CodeBlock;
use ui::confirm::Question;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{Choice, FormError, SelectField, TextField};
use ui::format::time;
use ui::icon::Icon;
use ui::secret_box::SecretBox;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::{UseSince, When, WhenOr};

fn state(token: &AccessTokenView) -> (Tone, &'static str) {
    match token {
        token if token.revoked_because.is_some() => (Tone::Warn, "Found, revoked"),
        token if token.revoked_at.is_some() => (Tone::Neutral, "Revoked"),
        token if token.expires_at.is_some_and(|at| at <= browser::now()) => (Tone::Warn, "Expired"),
        _ => (Tone::Ok, "Active"),
    }
}

fn revoke(office: Office, list: Query<Page<AccessTokenView>>, token: &AccessTokenView) {
    let (toasts, name) = (expect_context::<Toasts>(), token.name.to_string());
    let used = token.last_used_at.map_or_else(
        || "It was never used.".to_owned(),
        |at| format!("It was last used {}.", time::relative(at, browser::now(), browser::zone())),
    );
    let question = Question {
        act: "Revoke access token".to_owned(),
        warning: "Scripts that use it are refused at once".to_owned(),
        text: format!("{used} This cannot be undone.").into(),
        name: name.clone(),
    };
    let path = AccessTokenPath { organization_id: office.organization_id, access_token_id: token.id };
    use_ask().before::<RevokeAccessToken>(question, path, move |_| {
        toasts.done(format!("“{name}” is revoked."));
        list.refetch();
    });
}

fn columns(
    office: Office,
    list: Query<Page<AccessTokenView>>,
    rotating: RwSignal<Option<AccessTokenView>>,
) -> Vec<Column<AccessTokenView>> {
    let own = office.session.with(|me| me.user.id);
    let may_any = office.may(Permission::AccessTokensRevoke);
    vec![
        Column::new("Name", |token: &AccessTokenView| token.name.to_string())
            .cell(|token| view! { <span class="strong">{token.name.to_string()}</span> }.into_any()),
        Column::new("State", |token: &AccessTokenView| state(token).1.to_owned()).cell(|token| {
            let (tone, text) = state(token);
            let old = token.old_secret_retires_at.map(|at| {
                let used = token.old_secret_last_used_at;
                view! {
                    <span class="faint small stack-hair" data-testid="old-secret">
                        <span>"old secret ends " <When at /></span>
                        <UseSince at=used />
                    </span>
                }
            });
            view! { <span class="stack-hair"><span><Badge tone text dot=true /></span> {old}</span> }.into_any()
        }),
        Column::new("Owner", |token: &AccessTokenView| token.email.to_string()).wide_only(),
        Column::new("Token", |token: &AccessTokenView| token.hint.clone())
            .cell(|token| view! { <code class="muted">{token.hint.clone()}</code> }.into_any())
            .wide_only(),
        Column::new("Last used", |token: &AccessTokenView| {
            token.last_used_at.map(|at| at.to_string()).unwrap_or_default()
        })
        .cell(|token| view! { <WhenOr at=token.last_used_at otherwise="Never" /> }.into_any())
        .wide_only(),
        Column::new("Expires", |token: &AccessTokenView| token.expires_at.map(|at| at.to_string()).unwrap_or_default())
            .cell(|token| view! { <WhenOr at=token.expires_at otherwise="Never" /> }.into_any())
            .wide_only(),
        Column::new("Created", |token: &AccessTokenView| token.created_at.to_string())
            .cell(|token| view! { <When at=token.created_at /> }.into_any())
            .wide_only(),
        Column::acts(move |token: &AccessTokenView| {
            let may = token.revoked_at.is_none() && (may_any || own == Some(token.user_id));
            let may_rotate = own == Some(token.user_id) && state(token).1 == "Active";
            let (wanted, rotated) = (token.clone(), token.clone());
            let on_press = Callback::new(move |()| revoke(office, list, &wanted));
            let rotate = Callback::new(move |()| rotating.set(Some(rotated.clone())));
            view! {
                <span class="row">
                    {may_rotate.then(|| view! { <Button size=Size::Small on_press=rotate>"Rotate"</Button> })}
                    {may.then(|| view! { <Button size=Size::Small on_press>"Revoke"</Button> })}
                </span>
            }
            .into_any()
        }),
    ]
}

/// The tab.
#[component]
pub(super) fn Tokens(office: Office) -> impl IntoView {
    let list =
        use_query::<ListAccessTokens>(move || Some((office.path(), PageQuery { limit: Some(200), cursor: None })))
            .every(Duration::from_secs(30));
    let creating = RwSignal::new(false);
    let issued = RwSignal::new(None::<IssuedAccessTokenView>);
    let rotating = RwSignal::new(None::<AccessTokenView>);
    let columns = StoredValue::new(columns(office, list, rotating));
    let ready = Callback::new(move |page: Signal<Page<AccessTokenView>>| {
        view! { <DataTable label="Access tokens" columns=columns.get_value() rows=Signal::derive(move || page.get().items) key=|token: &AccessTokenView| token.id.to_string() file_name="access-tokens" /> }.into_any()
    });
    let close = Callback::new(move |()| {
        creating.set(false);
        rotating.set(None);
        issued.set(None);
        list.refetch();
    });
    let title = Signal::derive(move || {
        let name = rotating.with(|token| token.as_ref().map(|token| format!("Rotate “{}”", token.name)));
        name.unwrap_or_else(|| "New access token".to_owned())
    });
    view! {
        <section class="card" aria-label="Access tokens">
            <div class="card-head">
                <div><h2>"Access tokens"</h2><p>"For scripts that call the management API; a token may do what its owner may do in this organization."</p></div>
                <Button size=Size::Small icon=Icon::Plus on_press=Callback::new(move |()| creating.set(true))>"New access token"</Button>
            </div>
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(3) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Terminal title="No access tokens" text="Create one to call the management API from a script." /> }) ready />
        </section>
        <Dialog open=Signal::derive(move || creating.get() || rotating.with(Option::is_some)) on_close=close title placement=Placement::CenterWide>
            {move || match (issued.get(), rotating.get()) {
                (Some(token), _) => issued_view(office, token, close),
                (None, Some(token)) => rotate_form(office, &token, issued, close),
                (None, None) => view! { <CreateForm office issued close /> }.into_any(),
            }}
        </Dialog>
    }
}

fn issued_view(office: Office, token: IssuedAccessTokenView, close: Callback<()>) -> AnyView {
    let code = format!(
        "curl {}/api/v1/organizations/{}/workspaces \\\n  -H \"Authorization: Bearer {}\"",
        browser::origin(),
        office.organization_id,
        token.secret
    );
    view! {
        <DialogBody>
            <SecretBox secret=token.secret what="access token" file_name="access.token" />
            <CodeBlock code=Signal::stored(code) label="curl" />
        </DialogBody>
        <DialogFoot><Button weight=Weight::Primary on_press=close>"I have saved it"</Button></DialogFoot>
    }
    .into_any()
}

/// The spans on offer until a token ends.
fn spans() -> Vec<Choice> {
    [("30", "In 30 days"), ("90", "In 90 days"), ("365", "In one year"), ("", "Never")]
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .to_vec()
}

fn end_of(days: RwSignal<String>) -> Option<Timestamp> {
    let days: Option<u64> = days.get_untracked().parse().ok();
    days.map(|days| browser::now().plus(Duration::from_secs(days * 86_400)))
}

fn rotate_form(
    office: Office,
    token: &AccessTokenView,
    issued: RwSignal<Option<IssuedAccessTokenView>>,
    close: Callback<()>,
) -> AnyView {
    const AS_BEFORE: &str = "as before";
    let path = AccessTokenPath { organization_id: office.organization_id, access_token_id: token.id };
    let rotate = use_command::<RotateAccessToken>();
    let days = RwSignal::new(AS_BEFORE.to_owned());
    let on_rotate = Callback::new(move |overlap_secs| {
        let expires_at = match end_of(days) {
            _ if days.with_untracked(|days| days == AS_BEFORE) => Field::Absent,
            end => end.map_or(Field::Null, Field::Value),
        };
        rotate.run(path, TokenRotation { overlap_secs, expires_at }, move |token| issued.set(Some(token)));
    });
    let choices = [vec![(AS_BEFORE.to_owned(), "As before".to_owned())], spans()].concat();
    let expires = view! { <SelectField label="Expires" value=days choices=Signal::stored(choices) error=rotate.errors.of("expires_at") /> };
    let text = "The token gets a new secret, shown once. Its name and its owner's rights stay.";
    view! { <RotateForm text errors=rotate.errors busy=rotate.is_busy on_rotate on_cancel=close more=expires.into_any() /> }.into_any()
}

#[component]
fn CreateForm(office: Office, issued: RwSignal<Option<IssuedAccessTokenView>>, close: Callback<()>) -> impl IntoView {
    let (name, days) = (RwSignal::new(String::new()), RwSignal::new("90".to_owned()));
    let create = use_command::<CreateAccessToken>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match DisplayName::parse(&name.get_untracked()) {
            Ok(name) => {
                create.run(office.path(), NewAccessToken { name, expires_at: end_of(days) }, move |token| {
                    issued.set(Some(token));
                });
            }
            Err(error) => create.errors.set(vec![("name".to_owned(), format!("A name {error}."))], None),
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=name required=true autofocus=true placeholder="deploy script" error=create.errors.of("name") />
                <SelectField label="Expires" value=days choices=Signal::stored(spans()) error=create.errors.of("expires_at") />
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create token"</Button>
            </DialogFoot>
        </form>
    }
}
