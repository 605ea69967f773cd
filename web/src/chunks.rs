//! Pages whose code comes when it is wanted: which page is in which chunk, what is shown meanwhile, and when it does not come.
//!
//! A function with `wasm_split` and what only it reaches become a file of their own at build time (`crates/xtask/src/split.rs`); what
//! two of them reach becomes a file that both fetch, what the rest reaches too stays in the file that comes first. Invariant: a
//! view of a chunk is made only once the chunk is here, and then at once, under the owner of the page.

#![expect(clippy::unnecessary_wraps, reason = "what is split off can fail: its wrapper fetches it first")]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use domain::OrganizationId;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::wasm_split::{SplitLoaderError, wasm_split};

use crate::features;
use kit::page::{OrganizationPage, Page, WorkspacePage};
use ui::button::{Button, Weight};
use ui::data_view::{EmptyState, Skeleton, SkeletonView};
use ui::icon::Icon;

/// What a page of a chunk is about.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) page: Page,
    /// The organization that the page or its workspace belongs to; one's own account belongs to none.
    pub(crate) organization: Option<OrganizationId>,
}

type Loaded = Result<AnyView, SplitLoaderError>;

#[wasm_split(models, wasm_split_path = ::leptos::wasm_split, preload(fetch_models), fallible)]
fn models(about: Subject) -> Loaded {
    Ok(match about.page {
        Page::Workspace(workspace_id, WorkspacePage::Routes) => {
            view! { <features::routes::Routes workspace_id /> }.into_any()
        }
        Page::Organization(organization_id, OrganizationPage::Models) => {
            view! { <features::models::Models organization_id /> }.into_any()
        }
        Page::Organization(organization_id, OrganizationPage::Credentials) => {
            view! { <features::credentials::Credentials organization_id /> }.into_any()
        }
        _ => ().into_any(),
    })
}

#[wasm_split(money, wasm_split_path = ::leptos::wasm_split, preload(fetch_money), fallible)]
fn money(about: Subject) -> Loaded {
    Ok(match (about.page, about.organization) {
        (Page::Workspace(workspace_id, WorkspacePage::Budgets), Some(organization_id)) => {
            view! { <money_pages::budgets::Budgets organization_id workspace_id /> }.into_any()
        }
        (Page::Workspace(workspace_id, WorkspacePage::RateLimits), Some(organization_id)) => {
            view! { <money_pages::rate_limits::RateLimits organization_id workspace_id /> }.into_any()
        }
        (Page::Workspace(workspace_id, WorkspacePage::Usage), _) => {
            view! { <features::usage::Usage workspace_id /> }.into_any()
        }
        (Page::Organization(organization_id, OrganizationPage::Ledger), _) => {
            view! { <money_pages::ledger::Ledger organization_id /> }.into_any()
        }
        (Page::Organization(organization_id, OrganizationPage::KillSwitches), _) => {
            view! { <money_pages::kill_switches::KillSwitches organization_id /> }.into_any()
        }
        _ => ().into_any(),
    })
}

#[wasm_split(people, wasm_split_path = ::leptos::wasm_split, preload(fetch_people), fallible)]
fn people(about: Subject) -> Loaded {
    Ok(match about.page {
        Page::Account => view! { <features::account::Account /> }.into_any(),
        Page::Organization(organization_id, OrganizationPage::Members) => {
            view! { <features::members::Members organization_id /> }.into_any()
        }
        Page::Organization(organization_id, OrganizationPage::Settings) => {
            view! { <features::settings::Settings organization_id /> }.into_any()
        }
        Page::Organization(organization_id, OrganizationPage::Nodes) => {
            view! { <features::nodes::Nodes organization_id /> }.into_any()
        }
        Page::Organization(organization_id, OrganizationPage::Audit) => {
            view! { <features::audit::Audit organization_id /> }.into_any()
        }
        _ => ().into_any(),
    })
}

/// Code that comes in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Models,
    Money,
    People,
}

impl Chunk {
    const ALL: [Self; 3] = [Self::Models, Self::Money, Self::People];

    /// The chunk of a page; none for what comes with the shell.
    pub(crate) fn of(page: Page) -> Option<Self> {
        use {OrganizationPage as Org, WorkspacePage as Ws};
        match page {
            Page::Home | Page::SignIn | Page::Workspace(_, Ws::Overview | Ws::Requests | Ws::Keys) => None,
            Page::Workspace(_, Ws::Routes) | Page::Organization(_, Org::Models | Org::Credentials) => {
                Some(Self::Models)
            }
            Page::Workspace(_, Ws::Budgets | Ws::RateLimits | Ws::Usage)
            | Page::Organization(_, Org::Ledger | Org::KillSwitches) => Some(Self::Money),
            Page::Account | Page::Organization(_, Org::Members | Org::Settings | Org::Nodes | Org::Audit) => {
                Some(Self::People)
            }
        }
    }

    async fn fetch(self) -> Result<(), SplitLoaderError> {
        match self {
            Self::Models => fetch_models().await,
            Self::Money => fetch_money().await,
            Self::People => fetch_people().await,
        }
    }

    /// Draws a page of a chunk that is here; nothing when it is not.
    fn draw(self, about: Subject) -> Option<AnyView> {
        let drawn = match self {
            Self::Models => now(pin!(models(about))),
            Self::Money => now(pin!(money(about))),
            Self::People => now(pin!(people(about))),
        };
        drawn?.ok()
    }
}

/// What a future gives without waiting: a split function waits for nothing but its chunk.
fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Coming,
    Here,
    Failed,
}

/// Which chunks are here, from context.
#[derive(Clone, Copy)]
pub(crate) struct Chunks([RwSignal<State>; Chunk::ALL.len()]);

impl Chunks {
    pub(crate) fn provide() -> Self {
        let chunks = Self(Chunk::ALL.map(|_| RwSignal::new(State::Away)));
        provide_context(chunks);
        chunks
    }

    fn state(self, chunk: Chunk) -> RwSignal<State> {
        self.0[chunk as usize]
    }

    /// Fetches a chunk unless it is here or on its way.
    pub(crate) fn fetch(self, chunk: Chunk) {
        let state = self.state(chunk);
        if matches!(state.get_untracked(), State::Coming | State::Here) {
            return;
        }
        state.set(State::Coming);
        spawn_local(async move {
            let fetched = chunk.fetch().await;
            state.set(if fetched.is_ok() { State::Here } else { State::Failed });
        });
    }

    /// Fetches what a page will need, ahead of its being opened. What has failed is left for whoever opens it.
    pub(crate) fn expect(self, page: Page) {
        if let Some(chunk) = Chunk::of(page).filter(|chunk| self.state(*chunk).get_untracked() == State::Away) {
            self.fetch(chunk);
        }
    }

    /// Draws a page as soon as its chunk is here.
    pub(crate) fn view(self, chunk: Chunk, about: Subject) -> AnyView {
        self.fetch(chunk);
        let state = self.state(chunk);
        let again = Callback::new(move |()| self.fetch(chunk));
        let view_of = move || match state.get() {
            State::Away | State::Coming => waiting(),
            State::Here => chunk.draw(about).unwrap_or_else(|| missing(again)),
            State::Failed => missing(again),
        };
        view_of.into_any()
    }
}

fn waiting() -> AnyView {
    view! { <section class="card" aria-busy="true"><SkeletonView shape=Skeleton::Rows(8) /></section> }.into_any()
}

fn missing(again: Callback<()>) -> AnyView {
    let reload = Callback::new(|()| ui::browser::reload());
    view! {
        <h1 class="visually-hidden">"Not fetched"</h1>
        <div role="alert">
            <EmptyState icon=Icon::Warning title="This page could not be fetched" text="The connection is lost, or Headgate has been updated since the console was opened. If trying again does not help, load the console anew.">
                <Button icon=Icon::Refresh on_press=again>"Try again"</Button>
                <Button weight=Weight::Ghost on_press=reload>"Load the console anew"</Button>
            </EmptyState>
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_see_right_after_they_sign_in_needs_no_chunk() {
        let workspace = domain::WorkspaceId::from_uuid(7);
        for page in [Page::Home, Page::SignIn, Page::Workspace(workspace, WorkspacePage::Overview)] {
            assert_eq!(Chunk::of(page), None, "{page:?}");
        }
    }
}
