//! Audit: who did it? A timeline with what changed, a badge that says whether the chain holds, and the export.

use std::time::Duration;

use api::ops::OrganizationPath;
use api::ops::audit::{AuditEntryView, AuditQuery, AuditVerificationView, ExportAudit, ListAuditEntries, VerifyAudit};
use api::{Client, Empty, NoQuery};
use domain::audit::AuditOutcome;
use domain::{OrganizationId, Page, Permission};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Fetch, Query, failure_of, use_query};
use crate::nav::{Nav, use_nav};
use crate::session::{Session, use_session};
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
    subject: Memo<Option<String>>,
    about: Memo<Option<String>>,
    list: Query<Page<AuditEntryView>>,
    older: RwSignal<Vec<AuditEntryView>>,
}

/// `virtual_key.issue` reads "issued virtual key", or "tried to issue virtual key" when it was denied.
fn words(action: &str, outcome: AuditOutcome) -> String {
    let Some((noun, verb)) = action.split_once('.') else { return action.replace('_', " ") };
    let (noun, verb) = (noun.replace('_', " "), verb.replace('_', " "));
    let is_denied = outcome == AuditOutcome::Denied;
    let past = match (noun.as_str(), verb.as_str()) {
        ("session", "create") => return if is_denied { "tried to sign in as" } else { "signed in" }.to_owned(),
        ("session", "end") => return "signed out".to_owned(),
        ("user", "change password") => {
            return if is_denied { "tried to change the password of" } else { "changed the password of" }.to_owned();
        }
        (_, verb) if is_denied => return format!("tried to {verb} {noun}"),
        (_, "set") => "set".to_owned(),
        (_, "bind") => "bound".to_owned(),
        (_, "unbind") => "unbound".to_owned(),
        (_, "enrol") => "enrolled".to_owned(),
        (_, verb) if verb.ends_with("ed") => verb.to_owned(),
        (_, verb) if verb.ends_with('e') => format!("{verb}d"),
        (_, verb) => format!("{verb}ed"),
    };
    format!("{past} {noun}")
}

/// The actor's name, also for those who had none.
fn actor_name(entry: &AuditEntryView) -> String {
    if entry.actor_name.is_empty() { "Somebody not signed in".to_owned() } else { entry.actor_name.clone() }
}

fn actor_kind(kind: &str) -> &'static str {
    match kind {
        "user" => "person",
        "access_token" => "access token",
        "node" => "node",
        "system" => "system",
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
    let list = use_query::<ListAuditEntries>(move || Some((path, query_of((nav, subject, about), None))))
        .every(Duration::from_secs(10));
    let trail =
        Trail { organization_id, nav, session: use_session(), subject, about, list, older: RwSignal::new(Vec::new()) };
    Effect::new(move |_| {
        let _ = (nav.range().get(), subject.get(), about.get());
        trail.older.set(Vec::new());
    });
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
    let is_busy = RwSignal::new(false);
    let toasts = expect_context::<Toasts>();
    let export = Callback::new(move |()| {
        is_busy.set(true);
        spawn_local(async move {
            let path = OrganizationPath { organization_id: trail.organization_id };
            match Client::new(Fetch).call::<ExportAudit>(&path, &NoQuery {}, &Empty {}).await {
                Ok(lines) => {
                    browser::download("audit.jsonl", "application/jsonl", &lines.0);
                    toasts.done("Exported. Check it offline with “headgate audit verify audit.jsonl”.");
                }
                Err(error) => toasts.failed(failure_of(&error).detail),
            }
            let _ = is_busy.try_set(false);
        });
    });
    move || {
        let may = trail.session.can(Permission::AuditExport, trail.organization_id);
        may.then(|| view! { <Button icon=Icon::Download busy=is_busy on_press=export>"Export"</Button> })
    }
}

fn timeline(trail: Trail, page: Signal<Page<AuditEntryView>>) -> AnyView {
    let entries = Signal::derive(move || {
        let mut entries = page.get().items;
        let last = entries.last().map_or(u64::MAX, |entry| entry.seq);
        entries.extend(trail.older.get().into_iter().filter(|entry| entry.seq < last));
        entries
    });
    let next = RwSignal::new(page.get_untracked().next_cursor);
    let more = Callback::new(move |()| {
        let query = query_of((trail.nav, trail.subject, trail.about), next.get_untracked());
        spawn_local(async move {
            let path = OrganizationPath { organization_id: trail.organization_id };
            if let Ok(page) = Client::new(Fetch).call::<ListAuditEntries>(&path, &query, &Empty {}).await {
                next.set(page.next_cursor);
                trail.older.update(|older| older.extend(page.items));
            }
        });
    });
    view! {
        <ol class="timeline">{move || entries.get().into_iter().map(|entry| line(trail, entry)).collect_view()}</ol>
        <Show when=move || next.get().is_some()>
            <div class="table-more"><Button size=Size::Small on_press=more>"Show older"</Button></div>
        </Show>
    }
    .into_any()
}

fn line(trail: Trail, entry: AuditEntryView) -> AnyView {
    let id = entry.id.to_string();
    let open = move |_| trail.nav.set(&[("entry", Some(id.clone()))], false);
    let denied = (entry.outcome == AuditOutcome::Denied).then(|| view! { <Badge tone=Tone::Danger text="Denied" /> });
    let subject = if entry.subject_name.is_empty() {
        ui::format::id::short(&entry.subject_id)
    } else {
        entry.subject_name.clone()
    };
    view! {
        <li>
            <button type="button" class="timeline-line" on:click=open>
                <Avatar name=actor_name(&entry) />
                <span class="timeline-text">
                    <span class="strong">{actor_name(&entry)}</span>
                    " "
                    <span class="muted">{words(&entry.action, entry.outcome)}</span>
                    " "
                    <span class="strong">{subject}</span>
                    " "
                    {denied}
                </span>
                <span class="faint small number wide-only">{format!("#{}", entry.seq)}</span>
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
        let mut all = trail.list.items().get();
        all.extend(trail.older.get());
        all.into_iter().find(|entry| entry.id.to_string() == wanted)
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
            <div class="row"><Button size=Size::Small on_press=same>"Everything about this subject"</Button></div>
        </DialogBody>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_read_as_sentences() {
        let done = |action: &str| words(action, AuditOutcome::Success);
        assert_eq!(
            [
                "virtual_key.issue",
                "route.create",
                "role_binding.bind",
                "session.create",
                "node.enrol",
                "price.set",
                "member.add"
            ]
            .map(done),
            [
                "issued virtual key",
                "created route",
                "bound role binding",
                "signed in",
                "enrolled node",
                "set price",
                "added member"
            ]
        );
        assert_eq!(words("virtual_key.revoke", AuditOutcome::Denied), "tried to revoke virtual key");
    }
}
