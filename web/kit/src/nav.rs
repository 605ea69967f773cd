//! Where we are and how to go elsewhere: the page, the query, and links that carry the time range and environment along.
//!
//! The address is the only place where filters, tabs and open panels live, so every view can be shared and reloaded.

use domain::id::{OrganizationId, WorkspaceId};
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate};
use leptos_router::location::{BrowserUrl, LocationProvider as _};
use leptos_router::params::ParamsMap;

use crate::page::Page;
use model::range::TimeRange;

/// Query names that stay when going to another page.
const KEPT: [&str; 4] = ["range", "from", "to", "env"];

type Go = Box<dyn Fn(&str, NavigateOptions)>;

/// The address, from context.
#[derive(Clone, Copy)]
pub struct Nav {
    pub page: Memo<Option<Page>>,
    query: Memo<ParamsMap>,
    range: Memo<TimeRange>,
    environment: Memo<Option<String>>,
    go: StoredValue<Go, LocalStorage>,
}

impl Nav {
    /// Must run inside the router.
    pub fn provide() -> Self {
        let location = use_location();
        let navigate = use_navigate();
        let path = location.pathname;
        let query = location.query;
        // The router waits for its own list of routes before it writes the address of a pressed link; there is none, so it is told.
        if let Some(address) = use_context::<BrowserUrl>() {
            Effect::new(move |_| {
                path.track();
                address.ready_to_complete();
            });
        }
        let range = Memo::new(move |_| {
            query.with(|query| {
                let get = |name: &str| query.get(name);
                TimeRange::parse(get("range").as_deref(), get("from").as_deref(), get("to").as_deref())
            })
        });
        let nav = Self {
            page: Memo::new(move |_| path.with(|path| Page::parse(path))),
            query,
            range,
            environment: Memo::new(move |_| query.with(|query| query.get("env")).filter(|value| !value.is_empty())),
            go: StoredValue::new_local(Box::new(move |path: &str, options| navigate(path, options))),
        };
        provide_context(nav);
        nav
    }

    /// One value of the query. Makes a memo: call it once per component, not in a closure.
    pub fn param(self, name: &'static str) -> Memo<Option<String>> {
        Memo::new(move |_| self.query.with(|query| query.get(name)).filter(|value| !value.is_empty()))
    }

    /// Changes values of the query; `None` removes. The step lands in the history unless `replace`.
    pub fn set(self, changes: &[(&'static str, Option<String>)], replace: bool) {
        let mut query = self.query.get_untracked();
        for (name, value) in changes {
            query.remove(name);
            if let Some(value) = value {
                query.insert(*name, value.clone());
            }
        }
        let path = self.page.get_untracked().map(Page::path).unwrap_or_default();
        let options = NavigateOptions { replace, scroll: false, ..NavigateOptions::default() };
        self.go.with_value(|go| go(&format!("{path}{}", query.to_query_string()), options));
    }

    /// The query without some of its names, as text with its `?`; for addresses of the same page.
    pub fn query_without(self, names: &[&'static str]) -> String {
        let mut query = self.query.get_untracked();
        for name in names {
            query.remove(name);
        }
        query.to_query_string()
    }

    /// Goes to an address of the console.
    pub fn go(self, address: &str) {
        self.go.with_value(|go| go(address, NavigateOptions::default()));
    }

    /// The address of a page, with the range and environment of this one.
    pub fn href(self, page: Page) -> String {
        let kept = self.query.with(|query| {
            let mut kept = ParamsMap::new();
            for name in KEPT {
                if let Some(value) = query.get(name) {
                    kept.insert(name, value);
                }
            }
            kept.to_query_string()
        });
        format!("{}{kept}", page.path())
    }

    /// The address of a page with further query values.
    pub fn href_with(self, page: Page, pairs: &[(&'static str, String)]) -> String {
        let base = self.href(page);
        let mut extra = ParamsMap::new();
        for (name, value) in pairs {
            extra.insert(*name, value.clone());
        }
        let extra = extra.to_query_string();
        if base.contains('?') { format!("{base}&{}", extra.trim_start_matches('?')) } else { format!("{base}{extra}") }
    }

    /// The time range of the address.
    pub fn range(self) -> Memo<TimeRange> {
        self.range
    }

    /// The slug of the environment that filters the page.
    pub fn environment(self) -> Memo<Option<String>> {
        self.environment
    }

    pub fn set_range(self, range: TimeRange) {
        let mut changes: Vec<(&'static str, Option<String>)> = vec![("range", None), ("from", None), ("to", None)];
        for (name, value) in range.query() {
            changes.retain(|change| change.0 != name);
            changes.push((name, Some(value)));
        }
        self.set(&changes, false);
    }
}

/// Returns the address from context.
pub fn use_nav() -> Nav {
    expect_context::<Nav>()
}

/// The organization and workspace that the rail is about: those of the address, or the last ones visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub organization: OrganizationId,
    pub workspace: Option<WorkspaceId>,
}
