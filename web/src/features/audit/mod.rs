//! Audit: who did it? A timeline with what changed, a badge that says whether the chain holds, and the export.

use std::time::Duration;

use api::ops::OrganizationPath;
use api::ops::audit::{AuditEntryView, AuditQuery, AuditVerificationView, ExportAudit, ListAuditEntries, VerifyAudit};
use api::{Empty, NoQuery};
use domain::audit::AuditOutcome;
use domain::{OrganizationId, Page, Permission};
use leptos::prelude::*;

use kit::api::{use_act, use_query};
use kit::as_code::as_code;
use kit::nav::{Nav, use_nav};
use kit::pages::{Pages, use_pages};
use kit::session::{Session, use_session};
use kit::views::SavedViews;
use model::words::{actor_name, subject_name, words};
use ui::Tone;
use ui::avatar::Avatar;
use ui::badge::{Badge, Note};
use ui::browser;
use ui::button::{Button, Size};
use ui::copy_button::CopyId;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, Placement};
use ui::diff::DiffView;
use ui::field::{Choice, InlineSelect};
use ui::format::{json, number, time};
use ui::icon::{Glyph, Icon};
use ui::page_head::PageHead;
use ui::rows::use_rows;
use ui::table::MoreView;
use ui::toast::Toasts;
use ui::when::When;

/// Kinds of subject to narrow the log to, as prefixes of actions.
const SUBJECTS: [(&str, &str); 13] = [
    ("", "Everything"),
    ("virtual_key.", "Virtual keys"),
    ("credential.", "Credentials"),
    ("deployment.", "Deployments"),
    ("route.", "Routes"),
    ("price.", "Prices"),
    ("member.", "Members"),
    ("role_binding.", "Role bindings"),
    ("access_token.", "Access tokens"),
    ("session.", "Sessions"),
    ("node.", "Nodes"),
    ("workspace.", "Workspaces"),
    ("organization.", "Organization"),
];

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Trail {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
    list: Pages<AuditEntryView>,
}

fn actor_kind(kind: &str) -> &'static str {
    match kind {
        "user" => "person",
        "access_token" => "access token",
        "node" => "node",
        "system" => "system",
        "finder" => "found and posted a secret",
        _ => "not signed in",
    }
}

fn query_of(trail: (Nav, Memo<Option<String>>, Memo<Option<String>>), cursor: Option<domain::Cursor>) -> AuditQuery {
    let (nav, subject, about) = trail;
    let range = nav.range().get();
    let (from, to) = range.bounds(browser::now());
    AuditQuery {
        from: Some(from),
        to: (!range.is_live()).then_some(to),
        action: subject.get(),
        subject_id: about.get(),
        limit: Some(100),
        cursor,
        actor_id: None,
    }
}

/// The page.
#[component]
pub(crate) fn Audit(organization_id: OrganizationId) -> impl IntoView {
    let nav = use_nav();
    let (subject, about) = (nav.param("action"), nav.param("subject"));
    let path = OrganizationPath { organization_id };
    let list = use_pages::<ListAuditEntries, AuditEntryView>(
        move |cursor| Some((path, query_of((nav, subject, about), cursor))),
        |entry| entry.id.to_string(),
    )
    .every(Duration::from_secs(10));
    let trail = Trail { organization_id, nav, session: use_session(), list };
    let choices: Vec<Choice> = SUBJECTS.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let set = Callback::new(move |value: String| nav.set(&[("action", (!value.is_empty()).then_some(value))], false));
    let ready = Callback::new(move |page: Signal<Page<AuditEntryView>>| timeline(trail, page));
    view! {
        <PageHead title="Audit" about="Who did it? Every change and every denied attempt, chained so that a change in the past shows.">
            <Verification organization_id />
            <ExportButton trail />
        </PageHead>
        <section class="card" aria-label="Audit log">
            <div class="table-tools">
                <InlineSelect label="Subject" value=Signal::derive(move || subject.get().unwrap_or_default()) choices=Signal::stored(choices) on_change=set />
                {move || about.get().map(|id| {
                    let clear = Callback::new(move |()| nav.set(&[("subject", None)], false));
                    view! { <span class="row small muted">"about " <code>{ui::format::id::short(&id)}</code> <Button size=Size::Small on_press=clear>"Clear"</Button></span> }
                })}
                <span class="table-tools-end"><SavedViews nav panels=&["entry"] /></span>
            </div>
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(8) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Audit title="Nothing happened in this range" text="Widen the range or clear the filter." /> }) ready />
        </section>
        <EntryPanel trail />
    }
}

/// Whether the chain holds, checked by the server over the whole log.
#[component]
fn Verification(organization_id: OrganizationId) -> impl IntoView {
    let check = use_query::<VerifyAudit>(move || Some((OrganizationPath { organization_id }, NoQuery {})));
    let zone = browser::zone();
    let badge = move |result: AuditVerificationView| {
        let signed = result
            .checkpoint_at
            .map(|at| format!(", signed up to {} at {}", result.checkpoint_seq, time::absolute(at, zone)))
            .unwrap_or_default();
        let (tone, text, title) = match (result.is_valid, result.first_bad_seq) {
            (true, _) => (
                Tone::Ok,
                format!("Chain verified, {}", number::plural(result.n_entries, "entry", "entries")),
                format!("Every entry follows the one before{signed}."),
            ),
            (false, Some(seq)) => {
                (Tone::Danger, format!("Entry {seq} does not hold"), result.detail.unwrap_or_default())
            }
            (false, None) => (Tone::Danger, "The chain does not hold".to_owned(), result.detail.unwrap_or_default()),
        };
        view! { <span title=title data-testid="audit-verification"><Badge tone text dot=true /></span> }.into_any()
    };
    move || match check.data().get() {
        Some(result) => badge(result),
        None if check.load.failure.with(Option::is_some) => {
            view! { <Badge tone=Tone::Warn text="Not verified" /> }.into_any()
        }
        None => view! { <Badge text="Verifying…" /> }.into_any(),
    }
}

#[component]
fn ExportButton(trail: Trail) -> impl IntoView {
    let toasts = expect_context::<Toasts>();
    let export = use_act::<ExportAudit>();
    let press = Callback::new(move |()| {
        export.run(OrganizationPath { organization_id: trail.organization_id }, Empty {}, move |lines| {
            browser::download("audit.jsonl", "application/jsonl", &lines.0);
            toasts.done("Exported. Check it offline with “headgate audit verify audit.jsonl”.");
        });
    });
    move || {
        let may = trail.session.can(Permission::AuditExport, trail.organization_id);
        may.then(|| view! { <Button icon=Icon::Download busy=export.is_busy on_press=press>"Export"</Button> })
    }
}

fn timeline(trail: Trail, page: Signal<Page<AuditEntryView>>) -> AnyView {
    let node = NodeRef::<leptos::html::Ol>::new();
    let count = Signal::derive(move || page.with(|page| page.items.len()));
    let window = use_rows(move || node.get_untracked().map(|list| (*list).clone().into()), count);
    let more = trail.list.more();
    Effect::new(move |_| {
        if more.has_more.get() && !more.is_busy.get() && window.is_near_end() {
            more.load.run(());
        }
    });
    let lines = move || {
        let span = window.drawn();
        page.with(|page| {
            let shown = page.items.iter().enumerate().take(span.end).skip(span.first);
            shown.map(|(index, entry)| (index, entry.clone())).collect::<Vec<_>>()
        })
    };
    let gap = move |is_above: bool| {
        move || {
            let (above, below) = window.gaps();
            let pixels = if is_above { above } else { below };
            (pixels > 0.0).then(|| view! { <li aria-hidden="true" style:height=format!("{pixels}px")></li> })
        }
    };
    let place = move |index: usize| window.is_windowed().then_some((index + 1).to_string());
    view! {
        <ol class="timeline" node_ref=node>
            {gap(true)}
            <For each=lines key=|line| line.1.id let:line>{self::line(trail, &line.1, place(line.0))}</For>
            {gap(false)}
        </ol>
        <MoreView more n_rows=count n_shown=count />
    }
    .into_any()
}

fn line(trail: Trail, entry: &AuditEntryView, place: Option<String>) -> AnyView {
    let id = entry.id.to_string();
    let open = move |_| trail.nav.set(&[("entry", Some(id.clone()))], false);
    let denied = (entry.outcome == AuditOutcome::Denied).then(|| view! { <Badge tone=Tone::Danger text="Denied" /> });
    let subject = subject_name(entry).map(|name| view! { " " <span class="strong">{name}</span> });
    view! {
        <li aria-posinset=place.clone() aria-setsize=place.is_some().then_some("-1")>
            <button type="button" class="timeline-line" on:click=open>
                <Avatar name=actor_name(entry) />
                <span class="timeline-text">
                    <span class="strong">{actor_name(entry)}</span>
                    " "
                    <span class="muted">{words(&entry.action, entry.outcome)}</span>
                    {subject}
                    " "
                    {denied}
                </span>
                <span class="faint small number wide-only">{format!("#{}", number::grouped(entry.seq))}</span>
                <span class="muted small timeline-when"><When at=entry.at /></span>
            </button>
        </li>
    }
    .into_any()
}

#[component]
fn EntryPanel(trail: Trail) -> impl IntoView {
    let wanted = trail.nav.param("entry");
    let found = Memo::new(move |_| {
        let wanted = wanted.get()?;
        trail.list.items().get().into_iter().find(|entry| entry.id.to_string() == wanted)
    });
    let close = Callback::new(move |()| trail.nav.set(&[("entry", None)], false));
    let title =
        Signal::derive(move || found.get().map_or_else(|| "Entry".to_owned(), |entry| format!("Entry {}", entry.seq)));
    view! {
        <Dialog open=Signal::derive(move || found.get().is_some()) on_close=close title placement=Placement::Side>
            {move || found.get().map(|entry| entry_body(trail, entry))}
        </Dialog>
    }
}

fn entry_body(trail: Trail, entry: AuditEntryView) -> AnyView {
    let zone = browser::zone();
    let trail_path = OrganizationPath { organization_id: trail.organization_id };
    let parse =
        |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let changes = json::diff(parse(&entry.before).as_ref(), parse(&entry.after).as_ref());
    let has_state = entry.before.is_some() || entry.after.is_some();
    let subject = entry.subject_id.clone();
    let same = Callback::new(move |()| trail.nav.set(&[("subject", Some(subject.clone())), ("entry", None)], false));
    let denied = (entry.outcome == AuditOutcome::Denied)
        .then(|| view! { <Note tone=Tone::Danger title="Denied">"The attempt changed nothing."</Note> });
    view! {
        <DialogBody>
            {denied}
            <dl class="facts">
                <dt>"Who"</dt>
                <dd>{actor_name(&entry)} " " <span class="muted">{format!("({})", actor_kind(&entry.actor_kind))}</span></dd>
                <dt>"What"</dt>
                <dd><code>{entry.action.clone()}</code></dd>
                <dt>"Subject"</dt>
                <dd>{entry.subject_name.clone()} " " <CopyId id=entry.subject_id.clone() /></dd>
                <dt>"When"</dt>
                <dd>{format!("{} {}", time::absolute(entry.at, zone), zone.name())}</dd>
                {entry.ip.clone().map(|ip| view! { <dt>"From"</dt> <dd><code>{ip}</code></dd> })}
                {entry.user_agent.clone().map(|agent| view! { <dt>"With"</dt> <dd class="small">{agent}</dd> })}
            </dl>
            {has_state.then(|| view! { <section class="stack-tight" aria-label="What changed"><h3>"What changed"</h3><DiffView changes=changes.clone() /></section> })}
            <section class="stack-tight" aria-label="Place in the chain">
                <h3>"Place in the chain"</h3>
                <p class="row muted small"><Glyph icon=Icon::Shield /> <code class="hash">{entry.hash.clone()}</code></p>
            </section>
            {as_code::<ListAuditEntries>(&trail_path, &AuditQuery { subject_id: Some(entry.subject_id.clone()), ..AuditQuery::default() }, &entry)}
            <div class="row"><Button size=Size::Small on_press=same>"Everything about this subject"</Button></div>
        </DialogBody>
    }
    .into_any()
}
