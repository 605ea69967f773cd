//! What was set on a page, kept in its address: the filter, order and columns of its table, and views saved under a name.
//!
//! The address is the view: it can be shared, and a saved view is an address with a name, remembered on this machine.

use leptos::prelude::*;
use ui::browser;
use ui::button::{Button, Size, Weight};
use ui::icon::{Glyph, Icon};
use ui::menu::{Align, MenuItem, MenuLink, Popover};
use ui::table::{Sort, TableState, TableView};

use crate::nav::Nav;
use crate::page::Page;

/// Keeps the state of a page's table in its address.
pub fn use_table_state(nav: Nav) -> TableState {
    let (filter, sort, columns) = (nav.param("q"), nav.param("sort"), nav.param("columns"));
    let view = Memo::new(move |_| TableView {
        filter: filter.get().unwrap_or_default(),
        sort: sort.get().and_then(|text| Sort::parse(&text)),
        toggled: columns.get().map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default(),
    });
    let set = Callback::new(move |view: TableView| {
        let columns = view.toggled.join(",");
        let changes = [
            ("q", Some(view.filter).filter(|text| !text.is_empty())),
            ("sort", view.sort.map(|sort| sort.to_string())),
            ("columns", Some(columns).filter(|text| !text.is_empty())),
        ];
        nav.set(&changes, true);
    });
    TableState { view: view.into(), set }
}

/// Views by name: the query of the address that each stands for.
type Saved = Vec<(String, String)>;

fn read(text: Option<&str>) -> Saved {
    text.and_then(|text| api::from_text(text).ok()).unwrap_or_default()
}

/// Adds a view; a name that is there already stands for the new one.
fn with_view(mut saved: Saved, name: &str, query: &str) -> Saved {
    saved.retain(|view| view.0 != name);
    saved.push((name.to_owned(), query.to_owned()));
    ui::sort::by(&mut saved, Ord::cmp);
    saved
}

/// The menu of saved views; `panels` are the parts of the query that open something and are no part of a view.
#[component]
pub fn SavedViews(
    nav: Nav,
    panels: &'static [&'static str],
    #[prop(default = Align::End)] align: Align,
) -> impl IntoView {
    let open = RwSignal::new(false);
    let name = RwSignal::new(String::new());
    let kind = move || nav.page.get().map(Page::kind).unwrap_or_default();
    let place = move || format!("views.{}", kind());
    let saved = RwSignal::new(Saved::new());
    Effect::new(move |_| saved.set(read(browser::remembered(&place()).as_deref())));
    let keep = move |views: Saved| {
        if let Ok(text) = serde_json::to_string(&views) {
            browser::remember(&place(), &text);
        }
        saved.set(views);
    };
    let save = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let wanted = name.get_untracked().trim().to_owned();
        if !wanted.is_empty() {
            keep(with_view(saved.get_untracked(), &wanted, &nav.query_without(panels)));
            name.set(String::new());
        }
    };
    let copy = Callback::new(move |()| {
        let path = nav.page.get_untracked().map(Page::path).unwrap_or_default();
        browser::copy(&format!("{}{path}{}", browser::origin(), nav.query_without(panels)));
        open.set(false);
    });
    let lines = move || {
        let path = nav.page.get().map(Page::path).unwrap_or_default();
        let line = move |(title, query): (String, String)| {
            let (label, gone) = (format!("Forget the view {title}"), title.clone());
            let forget = move |_| {
                let mut views = saved.get_untracked();
                views.retain(|view| view.0 != gone);
                keep(views);
            };
            view! {
                <span class="menu-line">
                    <MenuLink icon=Icon::Search text=title href=format!("{path}{query}") open />
                    <button type="button" class="copy" title=label.clone() aria-label=label on:click=forget><Glyph icon=Icon::Close /></button>
                </span>
            }
        };
        saved.get().into_iter().map(line).collect_view()
    };
    let trigger = ViewFn::from(|| view! { <Glyph icon=Icon::Workspace /> <span class="button-label">"Views"</span> });
    view! {
        <Popover label=Signal::stored("Saved views".to_owned()) open align class="button button-ghost button-small" test_id="views" trigger>
            <div class="menu">
                {lines}
                <MenuItem icon=Icon::Copy text="Copy link to this view" on_press=copy />
            </div>
            <form class="menu-search row nowrap" on:submit=save>
                <input class="input" type="text" aria-label="Name of the view" placeholder="Save this view as…" prop:value=move || name.get() on:input=move |event| name.set(event_target_value(&event)) />
                <Button submits=true size=Size::Small weight=Weight::Primary>"Save"</Button>
            </form>
        </Popover>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_view() {
        let saved = with_view(with_view(Saved::new(), "b", "?q=1"), "a", "?q=2");
        let saved = with_view(saved, "b", "?q=3");
        assert_eq!(saved, [("a".to_owned(), "?q=2".to_owned()), ("b".to_owned(), "?q=3".to_owned())]);
        let text = serde_json::to_string(&saved).expect("plain pairs");
        assert_eq!(read(Some(&text)), saved);
        assert!(read(Some("not ours")).is_empty() && read(None).is_empty());
    }
}
