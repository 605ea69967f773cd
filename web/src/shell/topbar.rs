//! The top bar: breadcrumb, environment and time filters where they apply, search, and who is signed in.

use leptos::prelude::*;

use super::palette::SearchButton;
use super::time_range::TimeRangePicker;
use super::user_menu::UserMenu;
use super::{Frame, has_environment, has_range};
use kit::page::{OrganizationPage, Page, WorkspacePage};
use kit::session::use_environments;
use ui::badge::environment_class;
use ui::button::IconButton;
use ui::icon::{Glyph, Icon};
use ui::segmented::{Segment, Segmented};

/// The bar.
#[component]
pub(super) fn Topbar(frame: Frame) -> impl IntoView {
    let page = frame.nav.page;
    let with_environment = Memo::new(move |_| page.get().is_some_and(has_environment));
    let with_range = Memo::new(move |_| page.get().is_some_and(has_range));
    view! {
        <header class="topbar">
            <span class="narrow-only">
                <IconButton icon=Icon::Menu label=Signal::stored("Navigation".to_owned()) on_press=Callback::new(move |()| frame.is_rail_open.set(true)) />
            </span>
            <Breadcrumb frame />
            <span class="wide-only"><Show when=move || with_environment.get()><EnvironmentFilter frame /></Show></span>
            <Show when=move || with_range.get()><TimeRangePicker frame /></Show>
            <SearchButton frame />
            <UserMenu frame />
        </header>
        <Show when=move || with_environment.get()>
            <div class="filter-bar narrow-only"><EnvironmentFilter frame /></div>
        </Show>
    }
}

fn crumbs(frame: Frame) -> Vec<(String, Option<String>)> {
    let Some(page) = frame.nav.page.get() else { return vec![("Not found".to_owned(), None)] };
    let place = frame.place.get();
    let organization = place.and_then(|place| {
        let membership = frame.session.membership(place.organization)?;
        Some((
            membership.name.to_string(),
            Some(Page::Organization(place.organization, OrganizationPage::Settings).path()),
        ))
    });
    let workspace = place.and_then(|place| {
        let workspace = place.workspace?;
        Some((
            frame.session.workspace_name(workspace)?,
            Some(Page::Workspace(workspace, WorkspacePage::Overview).path()),
        ))
    });
    let here = (page.title().to_owned(), None);
    match page {
        Page::Workspace(..) => organization.into_iter().chain(workspace).chain([here]).collect(),
        Page::Organization(..) => organization.into_iter().chain([here]).collect(),
        _ => vec![here],
    }
}

#[component]
fn Breadcrumb(frame: Frame) -> impl IntoView {
    let items = move || {
        let crumbs = crumbs(frame);
        let last = crumbs.len().saturating_sub(1);
        let items = crumbs.into_iter().enumerate().map(move |(index, (text, href))| {
            let text = match href {
                Some(href) => view! { <a class="truncate" href=href>{text}</a> }.into_any(),
                None => view! { <span class="truncate" aria-current="page">{text}</span> }.into_any(),
            };
            view! { <li>{text} {(index < last).then(|| view! { <Glyph icon=Icon::ChevronRight /> })}</li> }
        });
        items.collect_view()
    };
    view! { <nav class="breadcrumb" aria-label="Breadcrumb"><ol>{items}</ol></nav> }
}

#[component]
fn EnvironmentFilter(frame: Frame) -> impl IntoView {
    let environments = use_environments();
    let chosen = frame.nav.environment();
    let segments = Signal::derive(move || {
        let all = Segment::new("", "All");
        let each = environments.all().into_iter().map(|environment| Segment {
            value: environment.slug.to_string(),
            text: environment.name.to_string(),
            class: environment_class(environment.slug.as_str()),
        });
        std::iter::once(all).chain(each).collect::<Vec<_>>()
    });
    let choose =
        Callback::new(move |slug: String| frame.nav.set(&[("env", (!slug.is_empty()).then_some(slug))], false));
    view! { <Segmented label="Environment" segments value=Signal::derive(move || chosen.get().unwrap_or_default()) on_change=choose test_id="environment-filter" /> }
}
