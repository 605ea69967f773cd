//! Whether the books keep their rules, as of the last look at them.

use std::time::Duration;

use api::NoQuery;
use api::ops::ledger::{InvariantView, InvariantsView, LedgerInvariants};
use domain::ledger::Rule;
use kit::api::use_query;
use kit::as_code::as_code;
use leptos::prelude::*;
use ui::Tone;
use ui::badge::{Badge, Note};
use ui::data_view::{DataView, Skeleton};
use ui::format::number;
use ui::icon::{Glyph, Icon};
use ui::when::WhenOr;

use super::Office;

fn title(rule: Rule) -> &'static str {
    match rule {
        Rule::PostingsMatchEvents => "Postings match calls",
        Rule::SumsMatchEvents => "Hourly sums match calls",
        Rule::AccountsMatchCharges => "Budgets match charges",
        Rule::AccountsMatchLeases => "Holds match leases",
        Rule::LeasesEnd => "Leases end",
        Rule::EntriesBalance => "Entries balance",
    }
}

fn state(rule: &InvariantView) -> (Tone, String) {
    match (rule.checked_at, rule.broken) {
        (None, _) => (Tone::Neutral, "Not looked at yet".to_owned()),
        (Some(_), 0) => (Tone::Ok, "Holds".to_owned()),
        (Some(_), broken) => (Tone::Danger, format!("{} broken", number::grouped(broken))),
    }
}

fn line(rule: &InvariantView) -> AnyView {
    let (tone, text) = state(rule);
    let icon = match tone {
        Tone::Ok => Icon::Check,
        Tone::Danger => Icon::Warning,
        _ => Icon::Clock,
    };
    let sample = rule.sample.clone().filter(|_| rule.broken > 0).map(|sample| {
        view! { <p class="small"><span class="muted">"For example: "</span><code class="wrap">{sample}</code></p> }
    });
    view! {
        <li class=format!("book-rule {}", tone.class()) data-testid="rule">
            <span class="book-mark"><Glyph icon /></span>
            <div class="stack-tight">
                <div class="row"><strong>{title(rule.rule)}</strong> <Badge tone text /></div>
                <p class="muted">{rule.about.clone()}</p>
                {sample}
            </div>
            <div class="book-look small muted">
                <span>"last look " <WhenOr at=rule.checked_at otherwise="never" /></span>
                <span>"calls since " <WhenOr at=rule.since otherwise="–" /></span>
            </div>
        </li>
    }
    .into_any()
}

fn verdict(books: &InvariantsView) -> AnyView {
    let n_broken = books.rules.iter().filter(|rule| rule.broken > 0).count();
    let n_open = books.rules.iter().filter(|rule| rule.checked_at.is_none()).count();
    match (n_broken, n_open) {
        (0, 0) => view! { <Note tone=Tone::Ok title="The books hold">"Every rule was looked at, and none is broken."</Note> }.into_any(),
        (0, _) => view! { <Note title="Not looked at yet">"A job looks at the books every hour; its first look is to come."</Note> }.into_any(),
        (some, _) => {
            let title = if some == 1 { "A rule is broken".to_owned() } else { format!("{some} rules are broken") };
            view! { <Note tone=Tone::Danger title>"Something was booked otherwise than it happened. The runbook says what to look at first."</Note> }.into_any()
        }
    }
}

/// The tab.
pub(super) fn view_of(office: Office) -> AnyView {
    let books = use_query::<LedgerInvariants>(move || Some((office.path(), NoQuery {}))).every(Duration::from_secs(60));
    let ready = Callback::new(move |view: Signal<InvariantsView>| {
        view! {
            <div class="card-body stack">
                {move || verdict(&view.get())}
                <ul class="book-rules">{move || view.get().rules.iter().map(line).collect_view()}</ul>
                {move || as_code::<LedgerInvariants>(&office.path(), &NoQuery {}, &view.get())}
            </div>
        }
        .into_any()
    });
    view! {
        <section class="card" aria-label="Rules of the books">
            <DataView load=books.load on_retry=books.retry() skeleton=Skeleton::Rows(6) is_empty=|_| false empty=ViewFn::from(|| ()) ready />
        </section>
    }
    .into_any()
}
