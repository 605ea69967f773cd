//! Lists of any length: a first page that follows its arguments and refreshes itself, and further pages as they are wanted.
//!
//! Invariant: rows keep the order of the server, and none is there twice. While more than the first page is shown the list does
//! not refresh by itself, so that nothing moves under the eye; asking for a refresh starts at the top again.

use std::time::Duration;

use api::{Client, Empty, Operation};
use domain::{Cursor, Page};
use leptos::prelude::*;
use leptos::task::spawn_local;
use ui::browser;
use ui::data_view::Load;
use ui::table::More;

use crate::api::{Fetch, failure_of, is_signed_out};
use crate::session::use_session;

type Arguments<O> = Box<dyn Fn(Option<Cursor>) -> Option<(<O as Operation>::Path, <O as Operation>::Query)>>;

/// A list on its way.
pub(crate) struct Pages<T: Send + Sync + 'static> {
    /// All rows that are here, and where the next ones begin.
    pub(crate) load: Load<Page<T>>,
    turn: RwSignal<u32>,
    /// How many pages of the server are here.
    depth: RwSignal<u32>,
    is_busy: RwSignal<bool>,
    next: Callback<()>,
}

impl<T: Send + Sync + 'static> Clone for Pages<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Pages<T> {}

impl<T: Clone + Send + Sync + 'static> Pages<T> {
    /// Asks for the first page again and drops the others.
    pub(crate) fn refetch(self) {
        self.turn.update(|turn| *turn = turn.wrapping_add(1));
    }

    /// The same as a callback.
    pub(crate) fn retry(self) -> Callback<()> {
        Callback::new(move |()| self.refetch())
    }

    /// Refreshes every `period` while the tab is in front and only the first page is shown.
    pub(crate) fn every(self, period: Duration) -> Self {
        browser::every(period, move || {
            if browser::is_visible() && !self.is_held_still() && !self.load.is_fetching.get_untracked() {
                self.refetch();
            }
        });
        self
    }

    /// Says whether older rows are shown, so that the list waits.
    pub(crate) fn is_held_still(self) -> bool {
        self.depth.get() > 1
    }

    /// The rows that are here.
    pub(crate) fn items(self) -> Signal<Vec<T>> {
        Signal::derive(move || {
            self.load.data.with(|page| page.as_ref().map(|page| page.items.clone()).unwrap_or_default())
        })
    }

    /// Puts a changed row in the place of the old one, before the server is asked again.
    pub(crate) fn replace(self, row: T, is_same: impl Fn(&T) -> bool) {
        self.load.data.update(|page| {
            if let Some(old) = page.as_mut().and_then(|page| page.items.iter_mut().find(|old| is_same(old))) {
                *old = row;
            }
        });
    }

    /// Where further rows come from, for a table.
    pub(crate) fn more(self) -> More {
        let has_more = move || self.load.data.with(|page| page.as_ref().is_some_and(|page| page.next_cursor.is_some()));
        More { has_more: Signal::derive(has_more), is_busy: self.is_busy.into(), load: self.next }
    }
}

/// Adds a further page to what is here. A row that moved between the two questions is not listed twice.
fn join<T>(mut held: Page<T>, more: Page<T>, key: fn(&T) -> String) -> Page<T> {
    // Only rows near the seam can be on both sides.
    let seam: Vec<String> = held.items.iter().rev().take(more.items.len()).map(key).collect();
    held.items.extend(more.items.into_iter().filter(|row| !seam.contains(&key(row))));
    Page { items: held.items, next_cursor: more.next_cursor }
}

/// Asks for the first page of `O` whenever `arguments` change; `None` asks nothing. `key` tells rows apart.
pub(crate) fn use_pages<O, T>(
    arguments: impl Fn(Option<Cursor>) -> Option<(O::Path, O::Query)> + 'static,
    key: fn(&T) -> String,
) -> Pages<T>
where
    O: Operation<Reply = Page<T>, Body = Empty>,
    T: Clone + Send + Sync + 'static,
{
    let arguments: StoredValue<Arguments<O>, LocalStorage> = StoredValue::new_local(Box::new(arguments));
    let (load, turn, depth) = (Load::default(), RwSignal::new(0_u32), RwSignal::new(0_u32));
    let is_busy = RwSignal::new(false);
    let session = use_session();
    let latest = StoredValue::new(0_u32);
    let ask = move |path: O::Path, query: O::Query, is_first: bool| {
        let number = latest.get_value().wrapping_add(u32::from(is_first));
        latest.set_value(number);
        spawn_local(async move {
            let answer = Client::new(Fetch).call::<O>(&path, &query, &Empty {}).await;
            // A later question, or a page that is gone: this answer is nobody's.
            if latest.try_get_value() != Some(number) {
                return;
            }
            load.is_fetching.set(false);
            is_busy.set(false);
            match answer {
                Ok(page) => {
                    load.failure.set(None);
                    depth.update(|count| *count = if is_first { 1 } else { *count + 1 });
                    load.data.update(|held: &mut Option<Page<T>>| {
                        *held = Some(match held.take() {
                            Some(held) if !is_first => join(held, page, key),
                            _ => page,
                        });
                    });
                }
                Err(error) if is_signed_out(&error) => session.signed_out(),
                Err(error) => load.failure.set(Some(failure_of(&error))),
            }
        });
    };
    Effect::new(move |_| {
        turn.track();
        let Some((path, query)) = arguments.with_value(|arguments| arguments(None)) else {
            load.is_fetching.set(false);
            return;
        };
        load.is_fetching.set(true);
        is_busy.set(false);
        ask(path, query, true);
    });
    let next = Callback::new(move |()| {
        let cursor = load.data.with_untracked(|page| page.as_ref().and_then(|page| page.next_cursor.clone()));
        let wanted = untrack(|| cursor.and_then(|cursor| arguments.with_value(|arguments| arguments(Some(cursor)))));
        if let Some((path, query)) = wanted.filter(|_| !is_busy.get_untracked()) {
            is_busy.set(true);
            ask(path, query, false);
        }
    });
    Pages { load, turn, depth, is_busy, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[u32], next: Option<&str>) -> Page<u32> {
        Page { items: rows.to_vec(), next_cursor: next.map(|text| Cursor(text.to_owned())) }
    }

    #[test]
    fn a_further_page_is_added_and_no_row_is_there_twice() {
        let joined = join(page(&[5, 4, 3], Some("a")), page(&[3, 2, 1], Some("b")), ToString::to_string);
        assert_eq!(joined, page(&[5, 4, 3, 2, 1], Some("b")));
        assert_eq!(join(joined, page(&[], None), ToString::to_string), page(&[5, 4, 3, 2, 1], None));
    }
}
