//! The frame around every page: rail, top bar, command palette; on small screens the rail is a panel.

mod palette;
mod rail;
mod switcher;
mod time_range;
mod topbar;
mod user_menu;

use leptos::prelude::*;

use kit::nav::{Nav, Place};
use kit::page::Page;
use kit::session::Session;
use ui::dialog::{Dialog, Placement};

/// What the frame shares with its parts.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) nav: Nav,
    pub(crate) session: Session,
    pub(crate) place: Memo<Option<Place>>,
    pub(crate) is_rail_open: RwSignal<bool>,
    pub(crate) is_palette_open: RwSignal<bool>,
}

/// Says whether a page is about a stretch of time.
fn has_range(page: Page) -> bool {
    use kit::page::{OrganizationPage as Org, WorkspacePage as Ws};
    matches!(page, Page::Workspace(_, Ws::Overview | Ws::Requests | Ws::Usage) | Page::Organization(_, Org::Audit))
}

/// Says whether a page can be narrowed to an environment.
fn has_environment(page: Page) -> bool {
    use kit::page::WorkspacePage as Ws;
    matches!(page, Page::Workspace(_, Ws::Overview | Ws::Requests | Ws::Usage | Ws::Keys))
}

/// The frame.
#[component]
pub(crate) fn Shell(nav: Nav, session: Session, place: Memo<Option<Place>>, children: Children) -> impl IntoView {
    let frame =
        Frame { nav, session, place, is_rail_open: RwSignal::new(false), is_palette_open: RwSignal::new(false) };
    let shortcut = window_event_listener(leptos::ev::keydown, move |event| {
        if (event.ctrl_key() || event.meta_key()) && event.key().eq_ignore_ascii_case("k") {
            event.prevent_default();
            frame.is_palette_open.update(|open| *open = !*open);
        }
    });
    on_cleanup(move || shortcut.remove());
    // A new page closes the panel and moves the focus to its content, as a page load would.
    Effect::new(move |previous: Option<Option<Page>>| {
        let page = nav.page.get();
        if previous.is_some_and(|previous| previous != page) {
            frame.is_rail_open.set(false);
            ui::browser::focus("content");
        }
        page
    });
    view! {
        <a class="skip-link" href="#content" rel="external">"Skip to content"</a>
        <div class="shell">
            <aside class="rail" aria-label="Places"><rail::Rail frame /></aside>
            <div class="shell-main">
                <topbar::Topbar frame />
                <main class="page" id="content" tabindex="-1">{children()}</main>
            </div>
        </div>
        <Dialog
            open=frame.is_rail_open
            on_close=Callback::new(move |()| frame.is_rail_open.set(false))
            title=Signal::stored("Navigation".to_owned())
            placement=Placement::Start
            bare=true
        >
            <div class="rail"><rail::Rail frame /></div>
        </Dialog>
        <palette::Palette frame />
    }
}
