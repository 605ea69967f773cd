//! Lists of any length: a first page that follows its arguments and refreshes itself, and further pages as they are wanted.
//!
//! Invariant: rows keep the order of the server, and none is there twice. While more than the first page is shown the list does
//! not refresh by itself, so that nothing moves under the eye; asking for a refresh starts at the top again.

use std::rc::Rc;
use std::time::Duration;

use api::{Empty, Operation, Response, client};
use domain::{Cursor, Page};
use leptos::prelude::*;
use leptos::task::spawn_local;
use ui::browser;
use ui::data_view::{Failure, Load};
use ui::table::More;

use crate::api::{Accepted, Written, exchange, failure_of, is_signed_out};
use crate::session::{Session, use_session};

/// A list on its way.
pub struct Pages<T: Send + Sync + 'static> {
    /// All rows that are here, and where the next ones begin.
    pub load: Load<Page<T>>,
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
    pub fn refetch(self) {
        self.turn.update(|turn| *turn = turn.wrapping_add(1));
    }

    /// The same as a callback.
    pub fn retry(self) -> Callback<()> {
        Callback::new(move |()| self.refetch())
    }

    /// Refreshes every `period` while the tab is in front and only the first page is shown.
    #[must_use]
    pub fn every(self, period: Duration) -> Self {
        browser::every(period, move || {
            if browser::is_visible() && !self.is_held_still() && !self.load.is_fetching.get_untracked() {
                self.refetch();
            }
        });
        self
    }

    /// Says whether older rows are shown, so that the list waits.
    pub fn is_held_still(self) -> bool {
        self.depth.get() > 1
    }

    /// The rows that are here.
    pub fn items(self) -> Signal<Vec<T>> {
        Signal::derive(move || {
            self.load.data.with(|page| page.as_ref().map(|page| page.items.clone()).unwrap_or_default())
        })
    }

    /// Puts a changed row in the place of the old one, before the server is asked again.
    pub fn replace(self, row: T, is_same: impl Fn(&T) -> bool) {
        self.load.data.update(|page| {
            if let Some(old) = page.as_mut().and_then(|page| page.items.iter_mut().find(|old| is_same(old))) {
                *old = row;
            }
        });
    }

    /// Where further rows come from, for a table.
    pub fn more(self) -> More {
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
pub fn use_pages<O, T>(
    arguments: impl Fn(Option<Cursor>) -> Option<(O::Path, O::Query)> + 'static,
    key: fn(&T) -> String,
) -> Pages<T>
where
    O: Operation<Reply = Page<T>, Body = Empty>,
    T: Clone + Send + Sync + 'static,
{
    let load: Load<Page<T>> = Load::default();
    let accept = move |response: &Response, is_first: bool| {
        let page = client::read::<O>(response)?;
        load.data.update(|held: &mut Option<Page<T>>| {
            *held = Some(match held.take() {
                Some(held) if !is_first => join(held, page, key),
                _ => page,
            });
        });
        Ok(())
    };
    let next_cursor = move || load.data.with_untracked(|page| page.as_ref().and_then(|page| page.next_cursor.clone()));
    let reader = Reader {
        turn: RwSignal::new(0),
        depth: RwSignal::new(0),
        is_busy: RwSignal::new(false),
        is_fetching: load.is_fetching,
        failure: load.failure,
        latest: StoredValue::new(0),
        session: use_session(),
        source: StoredValue::new_local(Source {
            ask: Box::new(move |cursor| {
                arguments(cursor).map(|(path, query)| client::request::<O>(&path, &query, &Empty {}))
            }),
            next_cursor: Box::new(next_cursor),
            accept: Rc::new(accept),
        }),
    };
    let next = reader.follow();
    Pages { load, turn: reader.turn, depth: reader.depth, is_busy: reader.is_busy, next }
}

type Accept = Rc<dyn Fn(&Response, bool) -> Accepted>;

/// What of a list depends on its types: how a page is asked for, and how its answer is taken in.
struct Source {
    ask: Box<dyn Fn(Option<Cursor>) -> Option<Written>>,
    next_cursor: Box<dyn Fn() -> Option<Cursor>>,
    accept: Accept,
}

/// A list without its types, so that reading it page by page is written once for all.
#[derive(Clone, Copy)]
struct Reader {
    turn: RwSignal<u32>,
    depth: RwSignal<u32>,
    is_busy: RwSignal<bool>,
    is_fetching: RwSignal<bool>,
    failure: RwSignal<Option<Failure>>,
    latest: StoredValue<u32>,
    session: Session,
    source: StoredValue<Source, LocalStorage>,
}

impl Reader {
    /// Reads the first page now and whenever its arguments change; what it returns reads the next one.
    fn follow(self) -> Callback<()> {
        Effect::new(move |_| {
            self.turn.track();
            let request = self.source.with_value(|source| (source.ask)(None));
            self.is_fetching.set(request.is_some());
            if let Some(request) = request {
                self.is_busy.set(false);
                self.read(request, true);
            }
        });
        Callback::new(move |()| {
            let wanted = self.source.with_value(|source| {
                let cursor = (source.next_cursor)()?;
                untrack(|| (source.ask)(Some(cursor)))
            });
            if let Some(request) = wanted.filter(|_| !self.is_busy.get_untracked()) {
                self.is_busy.set(true);
                self.read(request, false);
            }
        })
    }

    fn read(self, request: Written, is_first: bool) {
        let number = self.latest.get_value().wrapping_add(u32::from(is_first));
        self.latest.set_value(number);
        let accept = self.source.with_value(|source| Rc::clone(&source.accept));
        spawn_local(async move {
            let answer = exchange(request).await;
            // A later question, or a page that is gone: this answer is nobody's.
            if self.latest.try_get_value() != Some(number) {
                return;
            }
            self.is_fetching.set(false);
            self.is_busy.set(false);
            match answer.and_then(|response| accept(&response, is_first)) {
                Ok(()) => {
                    self.failure.set(None);
                    self.depth.update(|count| *count = if is_first { 1 } else { *count + 1 });
                }
                Err(error) if is_signed_out(&error) => self.session.signed_out(),
                Err(error) => self.failure.set(Some(failure_of(&error))),
            }
        });
    }
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
