//! The four states of every view on data: loading (a skeleton of the same height), empty (a beginning), error (what happened,
//! what to do, a retry) and ready.
//!
//! Once ready, a view stays ready: a refresh dims nothing and moves nothing, and a failed refresh says so above the old data.

use leptos::prelude::*;

use crate::Tone;
use crate::badge::Note;
use crate::button::{Button, Size};
use crate::icon::{Glyph, Icon};

/// Why data could not be had, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable code of the API, or `network`.
    pub code: String,
    /// What happened and what to do next.
    pub detail: String,
    /// Whether trying again can help.
    pub retryable: bool,
}

/// Data on its way: the last good value, the last failure, and whether a request is under way.
#[derive(Debug)]
pub struct Load<T: Send + Sync + 'static> {
    pub data: RwSignal<Option<T>>,
    pub failure: RwSignal<Option<Failure>>,
    pub is_fetching: RwSignal<bool>,
}

impl<T: Send + Sync + 'static> Clone for Load<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Load<T> {}

/// Nothing yet, and asking.
impl<T: Send + Sync + 'static> Default for Load<T> {
    fn default() -> Self {
        Self { data: RwSignal::new(None), failure: RwSignal::new(None), is_fetching: RwSignal::new(true) }
    }
}

/// The shape that stands in while data loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skeleton {
    /// So many lines of a table.
    Rows(usize),
    /// So many tiles in a row.
    Tiles(usize),
    /// A chart.
    Chart,
}

/// Draws a skeleton.
#[component]
pub fn SkeletonView(shape: Skeleton) -> impl IntoView {
    let bars =
        |count: usize, class: &'static str| (0..count).map(|_| view! { <span class=class></span> }).collect_view();
    let body = match shape {
        Skeleton::Rows(count) => {
            view! { <div class="skeleton-rows">{bars(count, "skeleton skeleton-row")}</div> }.into_any()
        }
        Skeleton::Tiles(count) => {
            view! { <div class="skeleton-tiles">{bars(count, "skeleton skeleton-tile")}</div> }.into_any()
        }
        Skeleton::Chart => view! { <span class="skeleton skeleton-chart"></span> }.into_any(),
    };
    view! { <div class="skeleton-view" role="status"><span class="visually-hidden">"Loading"</span>{body}</div> }
}

/// What an empty list says: what this is for, and one thing to do.
#[component]
pub fn EmptyState(
    icon: Icon,
    #[prop(into)] title: String,
    #[prop(into)] text: String,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <div class="empty">
            <span class="empty-icon"><Glyph icon /></span>
            <h2>{title}</h2>
            <p>{text}</p>
            {children.map(|children| view! { <div class="empty-acts">{children()}</div> })}
        </div>
    }
}

/// What a failed view says.
#[component]
pub fn FailureView(failure: Failure, on_retry: Callback<()>) -> impl IntoView {
    view! {
        <div class="empty" role="alert">
            <span class="empty-icon empty-icon-danger"><Glyph icon=Icon::Warning /></span>
            <h2>"This could not be loaded"</h2>
            <p>{failure.detail}</p>
            <p><code class="faint">{failure.code}</code></p>
            {failure.retryable.then(|| view! { <div class="empty-acts"><Button icon=Icon::Refresh on_press=on_retry>"Try again"</Button></div> })}
        </div>
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loading,
    Failed,
    Empty,
    Ready,
}

/// Shows `load` in whichever state it is in. `ready` is drawn once and follows the data through its signal.
#[component]
pub fn DataView<T: Clone + Send + Sync + 'static>(
    load: Load<T>,
    on_retry: Callback<()>,
    skeleton: Skeleton,
    /// Says whether there is nothing to show.
    is_empty: fn(&T) -> bool,
    /// Drawn when there is nothing.
    empty: ViewFn,
    ready: Callback<Signal<T>, AnyView>,
) -> impl IntoView {
    let has_nothing = Callback::new(move |()| load.data.with(|data| data.as_ref().map(is_empty)));
    // The signal outlives a change of phase by one tick, so it keeps the last value rather than assume one.
    let draw = Callback::new(move |()| {
        let Some(first) = load.data.get_untracked() else { return ().into_any() };
        let last = StoredValue::new(first);
        ready.run(Signal::derive(move || {
            if let Some(data) = load.data.get() {
                last.set_value(data);
            }
            last.get_value()
        }))
    });
    shell(Parts { failure: load.failure, is_fetching: load.is_fetching, on_retry, skeleton, empty, has_nothing, draw })
}

/// A view without the type of its data, so that the four states are written once for all.
struct Parts {
    failure: RwSignal<Option<Failure>>,
    is_fetching: RwSignal<bool>,
    on_retry: Callback<()>,
    skeleton: Skeleton,
    empty: ViewFn,
    /// Nothing until the data is there, then whether it is empty.
    has_nothing: Callback<(), Option<bool>>,
    draw: Callback<(), AnyView>,
}

fn shell(parts: Parts) -> AnyView {
    let Parts { failure, is_fetching, on_retry, skeleton, empty, has_nothing, draw } = parts;
    let phase = Memo::new(move |_| match has_nothing.run(()) {
        Some(true) => Phase::Empty,
        Some(false) => Phase::Ready,
        None if failure.with(Option::is_some) => Phase::Failed,
        None => Phase::Loading,
    });
    let view_of = move || match phase.get() {
        Phase::Loading => view! { <SkeletonView shape=skeleton /> }.into_any(),
        Phase::Failed => failure.get().map(|failure| view! { <FailureView failure on_retry /> }).into_any(),
        Phase::Empty => empty.run(),
        Phase::Ready => draw.run(()),
    };
    view! {
        <div class="data-view" aria-busy=move || is_fetching.get().then_some("true")>
            {move || stale_note(phase.get(), failure.get(), on_retry)}
            {view_of}
        </div>
    }
    .into_any()
}

fn stale_note(phase: Phase, failure: Option<Failure>, on_retry: Callback<()>) -> Option<AnyView> {
    let failure = failure.filter(|_| matches!(phase, Phase::Ready | Phase::Empty))?;
    Some(
        view! {
            <Note tone=Tone::Warn>
                <div class="row-between" role="status">
                    <span>"Could not refresh: " {failure.detail}</span>
                    <Button size=Size::Small on_press=on_retry>"Try again"</Button>
                </div>
            </Note>
        }
        .into_any(),
    )
}
