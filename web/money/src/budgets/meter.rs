//! How an account stands: used, held and left, apart from each other, as a bar with the numbers beside it.

use api::ops::budgets::AccountView;
use domain::budget::Amount;
use leptos::prelude::*;
use model::amounts::{Pace, pace, shares_of, size, tone, window_text, words};
use ui::Tone;
use ui::when::{When, use_now};

/// Draws the bar alone; the text beside it says the same. The mark is where the pace leads.
pub(super) fn bar(account: &AccountView, pace: Option<Pace>) -> AnyView {
    let (used, held) = shares_of(account);
    let percent = |share: f64| format!("{:.2}%", share * 100.0);
    let mark = pace.filter(|pace| pace.share <= 1.0).map(|pace| {
        view! { <span class="budget-pace" style:inset-inline-start=percent(pace.share)></span> }
    });
    view! {
        <span class=format!("budget-track {}", tone(used, held).class()) aria-hidden="true">
            <span class="bar budget-bar">
                <span class="budget-used" style:width=percent(used)></span>
                <span class="budget-held" style:width=percent(held)></span>
            </span>
            {mark}
        </span>
    }
    .into_any()
}

fn part(name: &'static str, amount: Option<Amount>, unit: &str) -> Option<AnyView> {
    let text = words(amount?, unit);
    Some(view! { <span class="budget-part"><span class="faint">{name}</span> " " <span class="number">{text}</span></span> }.into_any())
}

/// Where the pace leads, in words: an amount, or when the limit is reached.
fn pace_part(pace: Pace, unit: &str) -> AnyView {
    let Some(at) = pace.full_at else {
        let text = format!("about {} at this pace", words(pace.amount, unit));
        return view! { <span class="budget-part faint">{text}</span> }.into_any();
    };
    view! { <span class=format!("budget-part budget-ahead {}", Tone::Warn.class())>"used up " <When at /> " at this pace"</span> }
        .into_any()
}

/// Draws one account in a line of its own: amounts, bar, when it begins anew.
pub(super) fn line(account: &AccountView, unit: &'static str) -> AnyView {
    let ahead = pace(account, use_now().get_untracked());
    let resets = account.resets_at.map(|at| view! { <span class="budget-part faint">"anew " <When at /></span> });
    let over = Some(account.overdrawn).filter(|amount| size(*amount) > 0.0);
    view! {
        <div class="budget-line">
            <div class="budget-parts">
                <span class="budget-part">
                    <strong class="number">{account.limit.map(|limit| words(limit, unit)).unwrap_or_default()}</strong>
                    " "
                    <span class="muted">{window_text(account.window)}</span>
                </span>
                <span class="push budget-parts">
                    {part("used", Some(account.posted), unit)} {part("held", Some(account.held), unit)}
                    {part("left", account.remaining, unit)} {part("overdrawn", over, unit)}
                </span>
            </div>
            {bar(account, ahead)}
            <div class="budget-parts">
                {resets}
                <span class="push">{ahead.map(|ahead| pace_part(ahead, unit))}</span>
            </div>
        </div>
    }
    .into_any()
}
