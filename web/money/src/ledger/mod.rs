//! The ledger: whether the books hold, and calls billed anew when a price was wrong.

mod books;
mod rerate;

use domain::{OrganizationId, Permission};
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use leptos::prelude::*;
use ui::page_head::PageHead;
use ui::tabs::Tabs;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Office {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
}

impl Office {
    fn path(self) -> api::ops::OrganizationPath {
        api::ops::OrganizationPath { organization_id: self.organization_id }
    }

    fn bills(self) -> bool {
        self.session.can(Permission::PricesManage, self.organization_id)
    }
}

/// The page.
#[component]
pub fn Ledger(organization_id: OrganizationId) -> impl IntoView {
    let office = Office { organization_id, nav: use_nav(), session: use_session() };
    let tab = office.nav.param("tab");
    let mut tabs = vec![("books", "Do the books hold?")];
    if untrack(|| office.bills()) {
        tabs.push(("rerate", "A price was wrong"));
    }
    let panel = Callback::new(move |key: String| match key.as_str() {
        "rerate" => view! { <rerate::Rerate office /> }.into_any(),
        _ => books::view_of(office),
    });
    view! {
        <PageHead title="Ledger" about="What calls cost, kept twice: as events, and as postings between accounts. Rows are added and never changed; what was wrong is put right by another." />
        <Tabs
            label="Ledger"
            tabs
            current=Signal::derive(move || tab.get().unwrap_or_default())
            on_change=Callback::new(move |key: String| office.nav.set(&[("tab", Some(key))], true))
            panel
        />
    }
}
