//! A fresh secret: shown once, with ready calls, and a line that turns green when the first call arrives.

use std::time::Duration;

use api::ops::WorkspacePath;
use api::ops::usage::{ListRequests, RequestQuery};
use api::ops::virtual_keys::IssuedVirtualKeyView;
use leptos::prelude::*;

use super::create::use_models;
use super::{Keys, snippets};
use kit::api::use_query;
use kit::page::{Page, WorkspacePage};
use ui::browser;
use ui::button::{Button, Weight};
use ui::code_block::Snippets;
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::icon::{Glyph, Icon};
use ui::secret_box::SecretBox;

/// The dialog; closing it forgets the secret.
#[component]
pub(super) fn IssuedDialog(keys: Keys) -> impl IntoView {
    let title = Signal::derive(move || {
        keys.issued.get().map_or_else(String::new, |issued| format!("Key “{}”", issued.virtual_key.name))
    });
    let close = Callback::new(move |()| {
        keys.issued.set(None);
        keys.list.refetch();
    });
    view! {
        <Dialog open=Signal::derive(move || keys.issued.with(Option::is_some)) on_close=close title placement=Placement::CenterWide test_id="issued-key">
            {move || keys.issued.get().map(|issued| view! { <IssuedBody keys issued /> })}
            <DialogFoot><Button weight=Weight::Primary on_press=close>"I have saved it"</Button></DialogFoot>
        </Dialog>
    }
}

#[component]
fn IssuedBody(keys: Keys, issued: IssuedVirtualKeyView) -> impl IntoView {
    let gateway = keys.session.with(|me| me.gateway_url.clone()).flatten();
    let has_gateway = gateway.is_some();
    let gateway = gateway.unwrap_or_else(|| "http://127.0.0.1:7410".to_owned());
    let models = use_models(keys.workspace_id);
    let (secret, allowed) = (issued.secret.clone(), issued.virtual_key.allowed_models.clone());
    let example = Memo::new(move |_| {
        let names: Vec<String> = models.get().into_iter().map(|item| item.value).collect();
        snippets::example_model(&allowed, &names)
    });
    let code =
        move || view! { <Snippets label="Language" snippets=snippets::write(&gateway, &secret, &example.get()) /> };
    let file_name = format!("{}.key", issued.virtual_key.name.as_str().replace(' ', "-"));
    view! {
        <DialogBody>
            <SecretBox secret=issued.secret what="virtual key" file_name />
            <div class="stack-tight">
                <h3>"Make the first call"</h3>
                {(!has_gateway).then(|| view! { <p class="field-hint">"No gateway has told its address yet; replace the one below by yours."</p> })}
                {code}
            </div>
            <FirstCall keys virtual_key_id=issued.virtual_key.id />
        </DialogBody>
    }
}

#[component]
fn FirstCall(keys: Keys, virtual_key_id: domain::VirtualKeyId) -> impl IntoView {
    let since = browser::now().minus(Duration::from_secs(2));
    let calls = use_query::<ListRequests>(move || {
        let query = RequestQuery {
            from: Some(since),
            virtual_key_id: Some(virtual_key_id),
            limit: Some(1),
            ..RequestQuery::default()
        };
        Some((WorkspacePath { workspace_id: keys.workspace_id }, query))
    })
    .every(Duration::from_millis(1_500));
    let first = Memo::new(move |_| calls.items().get().into_iter().next());
    let requests = Page::Workspace(keys.workspace_id, WorkspacePage::Requests);
    view! {
        <div class="first-call" class:first-call-done=move || first.with(Option::is_some) role="status" data-testid="first-call">
            {move || match first.get() {
                None => view! { <span class="pulse" aria-hidden="true"></span> <span>"Waiting for the first call…"</span> }.into_any(),
                Some(call) => {
                    let text = if call.status < 400 { "First call received" } else { "A call arrived, but it failed" };
                    let href = keys.nav.href_with(requests, &[("request", call.id.to_string())]);
                    view! {
                        <Glyph icon=Icon::Check />
                        <span class="strong">{text}</span>
                        <span class="muted">{format!("{} · HTTP {}", call.model, call.status)}</span>
                        <a class="push" href=href>"See it"</a>
                    }
                        .into_any()
                }
            }}
        </div>
    }
}
