//! Instants that age: relative to now, with the absolute time at hand.

use std::time::Duration;

use leptos::prelude::*;

use crate::browser;
use crate::format::time::{self, Instant};

/// The present in steps of five seconds, from context.
#[derive(Clone, Copy)]
pub struct Now(RwSignal<Instant>);

impl Now {
    pub fn provide() {
        let now = RwSignal::new(browser::now());
        browser::every(Duration::from_secs(5), move || now.set(browser::now()));
        provide_context(Self(now));
    }
}

/// Returns the present; it moves.
pub fn use_now() -> Signal<Instant> {
    expect_context::<Now>().0.into()
}

/// An instant, relative to now.
#[component]
pub fn When(at: Instant) -> impl IntoView {
    let (now, zone) = (use_now(), browser::zone());
    // A clock that lags by seconds must not say "in 2 s" of the past.
    let shown = move || {
        let now = now.get();
        let at = if at > now && at.since(now) < Duration::from_secs(10) { now } else { at };
        time::relative(at, now, zone)
    };
    view! { <time class="nowrap" datetime=at.to_string() title=format!("{} {}", time::absolute(at, zone), zone.name())>{shown}</time> }
}

/// An instant to the second, for logs: the time of day, and the day when it is another than today. How long ago is at hand.
#[component]
pub fn Clock(at: Instant, zone: time::Zone) -> impl IntoView {
    let now = use_now();
    let title =
        move || format!("{} {}, {}", time::absolute(at, zone), zone.name(), time::relative(at, now.get(), zone));
    view! { <time class="nowrap number" datetime=at.to_string() title=title>{time::clock_time(at, browser::now(), zone)}</time> }
}

/// An instant that may be missing.
#[component]
pub fn WhenOr(at: Option<Instant>, #[prop(into)] otherwise: String) -> impl IntoView {
    match at {
        Some(at) => view! { <When at /> }.into_any(),
        None => view! { <span class="faint">{otherwise}</span> }.into_any(),
    }
}

/// When a secret that is being replaced was last used since; a secret that nobody uses any more may end at once.
#[component]
pub fn UseSince(at: Option<Instant>) -> impl IntoView {
    match at {
        Some(at) => view! { <span>"last used " <When at /></span> }.into_any(),
        None => view! { <span class="faint">"not used since"</span> }.into_any(),
    }
}
