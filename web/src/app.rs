//! The root: who is signed in decides between sign-in and shell, the address decides the page.

use leptos::prelude::*;
use leptos_router::components::Router;

use crate::chunks::{Chunk, Chunks, Subject};
use crate::features;
use crate::shell::Shell;
use crate::theme::Theme;
use kit::ask::{Ask, AskDialog};
use kit::nav::Nav;
use kit::page::{OrganizationPage, Page, WorkspacePage};
use kit::session::{Environments, Session, State};
use ui::button::Button;
use ui::chart::Crosshair;
use ui::data_view::{EmptyState, FailureView};
use ui::icon::Icon;
use ui::toast::{ToastRegion, Toasts};
use ui::when::Now;

/// The console.
#[component]
pub(crate) fn App() -> impl IntoView {
    Theme::provide();
    let toasts = Toasts::provide();
    let session = Session::provide();
    Now::provide();
    view! {
        <Router><Root session /></Router>
        <ToastRegion toasts />
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Waiting,
    SignIn,
    NewPassword,
    Unreachable,
    Inside,
}

#[component]
fn Root(session: Session) -> impl IntoView {
    let nav = Nav::provide();
    let gate = Memo::new(move |_| match session.state.get() {
        State::Unknown => Gate::Waiting,
        State::SignedOut => Gate::SignIn,
        State::Unreachable(_) => Gate::Unreachable,
        State::SignedIn(me) if me.user.must_change_password => Gate::NewPassword,
        State::SignedIn(_) => Gate::Inside,
    });
    move || match gate.get() {
        Gate::Waiting => ().into_any(),
        Gate::SignIn => view! { <features::sign_in::SignIn session /> }.into_any(),
        Gate::NewPassword => view! { <features::sign_in::NewPassword session /> }.into_any(),
        Gate::Unreachable => view! { <Unreachable session /> }.into_any(),
        Gate::Inside => view! { <Inside nav session /> }.into_any(),
    }
}

#[component]
fn Unreachable(session: Session) -> impl IntoView {
    let failure = move || match session.state.get() {
        State::Unreachable(failure) => {
            Some(view! { <FailureView failure on_retry=Callback::new(move |()| session.reload()) /> })
        }
        _ => None,
    };
    view! { <main class="page">{failure}</main> }
}

#[component]
fn Inside(nav: Nav, session: Session) -> impl IntoView {
    let place = Memo::new(move |_| session.place(nav.page.get()));
    let workspace = Memo::new(move |_| place.get().and_then(|place| place.workspace));
    Environments::provide(nav, workspace);
    let ask = Ask::provide();
    let chunks = Chunks::provide();
    // The bare address, and that of the sign-in form, lead to where one was last.
    Effect::new(move |_| {
        if let (Some(Page::Home | Page::SignIn), Some(home)) = (nav.page.get(), session.home()) {
            let page = match home.workspace {
                Some(workspace) => Page::Workspace(workspace, WorkspacePage::Overview),
                None => Page::Organization(home.organization, OrganizationPage::Settings),
            };
            nav.go(&page.path());
        }
    });
    Effect::new(move |_| {
        let title = nav.page.get().map_or("Not found", Page::title);
        document().set_title(&format!("{title} · Headgate"));
    });
    view! {
        <Shell nav session place>{move || page_view(session, chunks, nav.page.get())}</Shell>
        <AskDialog ask />
    }
}

fn page_view(session: Session, chunks: Chunks, page: Option<Page>) -> AnyView {
    Crosshair::provide();
    let Some(page) = page else { return not_found() };
    let organization = match page {
        Page::Workspace(id, _) => session.organization_of(id),
        Page::Organization(id, _) => session.membership(id).map(|_| id),
        _ => None,
    };
    let is_someones = matches!(page, Page::Workspace(..) | Page::Organization(..));
    if is_someones && organization.is_none() {
        return not_found();
    }
    if let Some(chunk) = Chunk::of(page) {
        return chunks.view(chunk, Subject { page, organization });
    }
    match page {
        Page::Workspace(workspace_id, WorkspacePage::Overview) => {
            view! { <features::overview::Overview workspace_id /> }.into_any()
        }
        Page::Workspace(workspace_id, WorkspacePage::Requests) => {
            view! { <features::requests::Requests workspace_id /> }.into_any()
        }
        Page::Workspace(workspace_id, WorkspacePage::Keys) => {
            view! { <features::virtual_keys::VirtualKeys workspace_id /> }.into_any()
        }
        Page::Home | Page::SignIn if session.home().is_none() => no_access(session),
        Page::Home | Page::SignIn => ().into_any(),
        _ => not_found(),
    }
}

fn not_found() -> AnyView {
    view! {
        <h1 class="visually-hidden">"Not found"</h1>
        <EmptyState icon=Icon::Search title="This page does not exist" text="The address may be mistyped, or the thing it was about is gone or not yours to see.">
            <ui::button::LinkButton href=Signal::stored("/".to_owned())>"Go to the overview"</ui::button::LinkButton>
        </EmptyState>
    }
    .into_any()
}

fn no_access(session: Session) -> AnyView {
    view! {
        <h1 class="visually-hidden">"No access"</h1>
        <EmptyState icon=Icon::Members title="You are not a member of any organization" text="Ask an administrator to add you, then try again.">
            <Button icon=Icon::Refresh on_press=Callback::new(move |()| session.reload())>"Try again"</Button>
        </EmptyState>
    }
    .into_any()
}

/// Takes over the element that holds the static skeleton of `index.html`.
pub(crate) fn start() {
    use wasm_bindgen::JsCast;
    let root = document().get_element_by_id("app").and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(root) = root {
        root.set_inner_html("");
        leptos::mount::mount_to(root, App).forget();
    }
}
