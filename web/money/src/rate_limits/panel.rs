//! One rate limit at the side: what it says, and what can be done with it.

use api::NoQuery;
use api::ops::rate_limits::{
    ArchiveOrganizationRateLimit, ArchiveRateLimit, GetOrganizationRateLimit, GetRateLimit, RateLimitView,
};
use kit::as_code::as_code;
use kit::ask::use_ask;
use leptos::prelude::*;
use model::amounts::rate_words;
use ui::badge::{Badge, Tag};
use ui::button::{Button, Weight};
use ui::confirm::Question;
use ui::copy_button::CopyId;
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::icon::Icon;
use ui::toast::Toasts;
use ui::when::When;

use super::{Desk, apart_text, state};

#[component]
pub(super) fn LimitPanel(desk: Desk) -> impl IntoView {
    let wanted = desk.nav.param("limit");
    let found = Memo::new(move |_| {
        let wanted = wanted.get()?;
        desk.list.items().get().into_iter().find(|limit| limit.id.to_string() == wanted)
    });
    let title =
        Signal::derive(move || found.get().map_or_else(|| "Rate limit".to_owned(), |limit| limit.name.to_string()));
    let body = move || found.get().map(|limit| panel_body(desk, limit));
    view! {
        <Dialog open=Signal::derive(move || found.get().is_some()) on_close=Callback::new(move |()| desk.open(None)) title placement=Placement::Side test_id="limit-panel">{body}</Dialog>
    }
}

fn archive(desk: Desk, limit: &RateLimitView) {
    let (toasts, name) = (expect_context::<Toasts>(), limit.name.to_string());
    let question = Question {
        act: "Archive rate limit".to_owned(),
        warning: "It binds no call any more".to_owned(),
        text: "Nodes let calls through within a second; the name is free. This cannot be undone.".into(),
        name: name.clone(),
    };
    let done = move || {
        toasts.done(format!("“{name}” is archived."));
        desk.open(None);
        desk.list.refetch();
    };
    if desk.manages_all() {
        use_ask().before::<ArchiveOrganizationRateLimit>(question, desk.wide_path(limit), move |_| done());
    } else {
        use_ask().before::<ArchiveRateLimit>(question, desk.path(limit), move |_| done());
    }
}

fn facts(desk: Desk, limit: &RateLimitView) -> AnyView {
    let (tone, text) = state(limit);
    let rates = limit.rates.iter().map(|rate| view! { <span class="number">{rate_words(rate)}</span> }).collect_view();
    let apart = if limit.group_by.is_empty() { "Nothing: one counter for all".to_owned() } else { apart_text(limit) };
    let of_whom = limit.clone();
    view! {
        <dl class="facts">
            <dt>"State"</dt>
            <dd><Badge tone text dot=true /></dd>
            <dt>"Of"</dt>
            <dd>{desk.place_name(limit.workspace_id)}</dd>
            <dt>"Limits"</dt>
            <dd class="stack-hair">{rates}</dd>
            <dt>"Counted apart"</dt>
            <dd>{apart}</dd>
            <dt>"Counts"</dt>
            <dd>{move || desk.whom(&of_whom)}</dd>
            <dt>"Changed"</dt>
            <dd><When at=limit.updated_at /></dd>
            <dt>"Id"</dt>
            <dd><CopyId id=limit.id.to_string() /></dd>
        </dl>
    }
    .into_any()
}

fn panel_body(desk: Desk, limit: RateLimitView) -> AnyView {
    let (for_edit, for_archive) = (limit.clone(), limit.clone());
    let edit = Callback::new(move |()| desk.editing.set(Some(for_edit.clone())));
    let archive = Callback::new(move |()| archive(desk, &for_archive));
    let code = if desk.sees_all() {
        as_code::<GetOrganizationRateLimit>(&desk.wide_path(&limit), &NoQuery {}, &limit)
    } else {
        as_code::<GetRateLimit>(&desk.path(&limit), &NoQuery {}, &limit)
    };
    let about = limit.description.clone().map(|text| view! { <p class="muted">{text}</p> });
    let (facts, may_manage) = (facts(desk, &limit), desk.manages(&limit));
    view! {
        <DialogBody>
            {about}
            {facts}
            <div class="stack-tight">
                <h3>"What clients see"</h3>
                <p class="muted">"429 with the code " <Tag text="rate_limited" /> " in their own dialect, the name of the limit, and " <code>"Retry-After"</code> ": whole seconds after which the same call is admitted."</p>
            </div>
            {code}
        </DialogBody>
        <DialogFoot>
            {may_manage.then(|| view! {
                <Button icon=Icon::Edit on_press=edit>"Edit"</Button>
                <Button weight=Weight::Danger on_press=archive>"Archive"</Button>
            })}
        </DialogFoot>
    }
    .into_any()
}
