//! Billing calls anew by another price: first what would change, then the differences are posted.

use api::ops::ledger::{Rerate as Bill, RerateReport, RerateRequest};
use api::ops::models::{ListPrices, PriceQuery, PriceView};
use domain::RequestId;
use domain::price::PriceSource;
use kit::api::{Command, use_command, use_query};
use leptos::prelude::*;
use ui::Tone;
use ui::badge::Note;
use ui::browser;
use ui::button::{Button, Weight};
use ui::field::{Choice, FormError, InputKind, SelectField, TextField};
use ui::format::{money, number, time};
use ui::stat::Stat;
use ui::toast::Toasts;

use super::Office;

/// What is typed.
#[derive(Clone, Copy)]
struct Draft {
    price: RwSignal<String>,
    from: RwSignal<String>,
    to: RwSignal<String>,
    reason: RwSignal<String>,
}

impl Draft {
    fn new() -> Self {
        let (now, zone) = (browser::now(), browser::zone());
        let month = std::time::Duration::from_secs(30 * 86_400);
        Self {
            price: RwSignal::new(String::new()),
            from: RwSignal::new(time::to_input(now.minus(month), zone)),
            to: RwSignal::new(time::to_input(now, zone)),
            reason: RwSignal::new(String::new()),
        }
    }

    fn read(self, is_dry_run: bool) -> Result<RerateRequest, (&'static str, String)> {
        let zone = browser::zone();
        let at = |field, text: RwSignal<String>| {
            time::from_input(&text.get_untracked(), zone).ok_or((field, "Give a date and a time.".to_owned()))
        };
        Ok(RerateRequest {
            price_id: self.price.get_untracked().parse().map_err(|_| ("price_id", "Choose a price.".to_owned()))?,
            from: at("from", self.from)?,
            to: at("to", self.to)?,
            reason: self.reason.get_untracked().trim().to_owned(),
            is_dry_run,
            after: None,
        })
    }
}

/// Adds what the next part of the calls said.
fn sum(all: &RerateReport, part: &RerateReport) -> RerateReport {
    RerateReport {
        requests: all.requests + part.requests,
        changed: all.changed + part.changed,
        unexplained: all.unexplained + part.unexplained,
        before_usd: all.before_usd.saturating_add(part.before_usd),
        after_usd: all.after_usd.saturating_add(part.after_usd),
        next_after: part.next_after,
    }
}

/// A question that is asked part by part, since one answer looks at some thousand calls.
#[derive(Clone, Copy)]
struct Run {
    office: Office,
    command: Command<Bill>,
    report: RwSignal<Option<RerateReport>>,
    done: Callback<RerateReport>,
}

impl Run {
    fn go(self, request: RerateRequest, so_far: RerateReport, after: Option<RequestId>) {
        let body = RerateRequest { after, ..request.clone() };
        self.command.run(self.office.path(), body, move |part| {
            let all = sum(&so_far, &part);
            self.report.set(Some(all.clone()));
            match part.next_after {
                // The answer is still being taken in: the next part begins after it.
                Some(next) => browser::at_next_frame(move || self.go(request, all, Some(next))),
                None => self.done.run(all),
            }
        });
    }
}

fn price_words(price: &PriceView) -> String {
    let source = if price.source == PriceSource::Own { "own" } else { "catalog" };
    let rates = &price.usd_per_million_tokens;
    let since = time::date(price.effective_at, browser::zone());
    let (input, output) = (money::price(rates.input), money::price(rates.output));
    format!("{}/{}: {input} in, {output} out, {source}, from {since}", price.provider, price.upstream_model)
}

/// The tab.
#[component]
pub(super) fn Rerate(office: Office) -> impl IntoView {
    let draft = Draft::new();
    let toasts = expect_context::<Toasts>();
    let prices = use_query::<ListPrices>(move || {
        Some((office.path(), PriceQuery { limit: Some(200), ..PriceQuery::default() }))
    });
    let choices = Signal::derive(move || {
        let all = prices.items().get();
        all.iter().filter_map(|price| Some((price.id?.to_string(), price_words(price)))).collect::<Vec<Choice>>()
    });
    let command = use_command::<Bill>();
    let (previewed, report) = (RwSignal::new(None::<RerateRequest>), RwSignal::new(None::<RerateReport>));
    let posted = RwSignal::new(None::<RerateReport>);
    let look = Run { office, command, report, done: Callback::new(|_| ()) };
    let post = Run {
        office,
        command,
        report: posted,
        done: Callback::new(move |all: RerateReport| {
            toasts.done(format!("{} posted.", number::plural(all.changed, "difference", "differences")));
            previewed.set(None);
        }),
    };
    let preview = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match draft.read(true) {
            Ok(request) => {
                report.set(None);
                posted.set(None);
                previewed.set(Some(request.clone()));
                look.go(request, RerateReport::default(), None);
            }
            Err((field, text)) => command.errors.set(vec![(field.to_owned(), text)], None),
        }
    };
    let apply = Callback::new(move |()| {
        // What was previewed is posted, whatever stands in the form by now.
        if let Some(request) = previewed.get_untracked() {
            post.go(RerateRequest { is_dry_run: false, ..request }, RerateReport::default(), None);
        }
    });
    let errors = command.errors;
    let zone = browser::zone().name();
    view! {
        <section class="card card-pad stack" aria-label="Bill calls anew">
            <p class="muted">"Set the right price under Models & prices, then bill calls of a time anew by it. Differences are posted beside what was booked; repeating it finds none. Accounts of budgets stay: a budget counts what was known when the call was made."</p>
            <form class="stack" on:submit=preview>
                <SelectField label="The price that should have held" value=draft.price choices placeholder="Choose" error=errors.of("price_id") />
                <div class="columns-2">
                    <TextField label="Calls from" value=draft.from kind=InputKind::DateTime hint=format!("In {zone}.") error=errors.of("from") />
                    <TextField label="Calls before" value=draft.to kind=InputKind::DateTime hint=format!("In {zone}, not in the future.") error=errors.of("to") />
                </div>
                <TextField label="Why" value=draft.reason required=true placeholder="Contract of November" hint="Stands in the audit log and in each posting." error=errors.of("reason") />
                <FormError errors />
                <div><Button submits=true weight=Weight::Primary busy=command.is_busy test_id="rerate-preview">"See what would change"</Button></div>
            </form>
            <div aria-live="polite" class="stack">
                {move || report.get().map(|report| outcome(&report, "would be posted"))}
                {move || {
                    let changed = report.with(|report| report.as_ref().filter(|it| it.next_after.is_none()).map_or(0, |it| it.changed));
                    (changed > 0 && previewed.with(Option::is_some)).then(|| view! {
                        <div><Button weight=Weight::Danger busy=command.is_busy on_press=apply test_id="rerate-apply">{format!("Post {}", number::plural(changed, "difference", "differences"))}</Button></div>
                    })
                }}
                {move || posted.get().map(|report| view! { <Note tone=Tone::Ok title="Posted">{format!("{} of {} put right.", number::plural(report.changed, "call", "calls"), number::grouped(report.requests))}</Note> })}
            </div>
        </section>
    }
}

/// What a look at the calls said.
fn outcome(report: &RerateReport, verb: &'static str) -> AnyView {
    let difference =
        domain::NanoUsd::from_nanos(report.after_usd.as_nanos().saturating_sub(report.before_usd.as_nanos()));
    let change = number::change(money::as_dollars(report.after_usd), money::as_dollars(report.before_usd));
    let unexplained = (report.unexplained > 0).then(|| {
        let text = format!(
            "{} stay as they are: billed otherwise than by a price of the book.",
            number::plural(report.unexplained, "call", "calls")
        );
        view! { <p class="muted small">{text}</p> }
    });
    let stored = |text: String| Signal::stored(text);
    view! {
        <div class="stats stats-4" data-testid="rerate-report">
            <Stat label="Looked at" value=stored(number::grouped(report.requests)) detail=stored("calls".to_owned()) />
            <Stat label="Differences" value=stored(number::grouped(report.changed)) detail=stored(verb.to_owned()) />
            <Stat label="Was" value=stored(money::usd(report.before_usd)) detail=stored(format!("is {}", money::usd(report.after_usd))) />
            <Stat label="Change" value=stored(money::usd(difference)) detail=stored(change.unwrap_or_default()) />
        </div>
        {unexplained}
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::NanoUsd;

    #[test]
    fn parts_add_up_and_the_last_one_says_whether_there_are_more() {
        let part = |next: Option<u128>| RerateReport {
            requests: 10,
            changed: 4,
            unexplained: 1,
            before_usd: NanoUsd::from_nanos(7),
            after_usd: NanoUsd::from_nanos(5),
            next_after: next.map(RequestId::from_uuid),
        };
        let all = sum(&sum(&RerateReport::default(), &part(Some(1))), &part(None));
        assert_eq!((all.requests, all.changed, all.unexplained, all.next_after), (20, 8, 2, None));
        assert_eq!((all.before_usd, all.after_usd), (NanoUsd::from_nanos(14), NanoUsd::from_nanos(10)));
    }
}
