//! The one table: sort, filter, choose columns, export, and move with the keyboard (j, k, enter).
//!
//! A column is data: its title, its text (for sorting, filtering and export) and, if wanted, a richer cell. The first column of a
//! table whose rows open is a button, so that a row is reachable without a mouse.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use crate::browser;
use crate::button::{Button, Size, Weight};
use crate::element_id;
use crate::format::{csv, number};
use crate::icon::{Glyph, Icon};
use crate::menu::{Align, MenuItem, Popover};
use crate::rows::{Rows, use_rows};
use crate::sort;

/// A row whose type only its columns know, so that the table is written once for all kinds of rows.
type Row = Arc<dyn Any + Send + Sync>;

type TextOf = Arc<dyn Fn(&Row) -> String + Send + Sync>;
type NumberOf = Arc<dyn Fn(&Row) -> f64 + Send + Sync>;
type CellOf = Arc<dyn Fn(&Row) -> AnyView + Send + Sync>;

/// When a column is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    /// Not on small screens.
    Wide,
    /// When it is asked for.
    OnDemand,
    /// Always, and it is no data.
    Acts,
}

/// One column of rows of type `T`.
pub struct Column<T> {
    bare: BareColumn,
    rows: PhantomData<fn(&T)>,
}

/// A column without the type of its rows.
#[derive(Clone)]
struct BareColumn {
    title: &'static str,
    is_number: bool,
    shown: Shown,
    text: TextOf,
    number: Option<NumberOf>,
    cell: Option<CellOf>,
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Self {
        Self { bare: self.bare.clone(), rows: PhantomData }
    }
}

impl<T: 'static> Column<T> {
    pub fn new(title: &'static str, text: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        let text: TextOf = Arc::new(move |row| row.downcast_ref().map(&text).unwrap_or_default());
        let bare = BareColumn { title, is_number: false, shown: Shown::Always, text, number: None, cell: None };
        Self { bare, rows: PhantomData }
    }

    /// The column of a row's buttons: last, always there, and no data.
    pub fn acts(cell: impl Fn(&T) -> AnyView + Send + Sync + 'static) -> Self {
        let mut column = Self::new("Acts", |_| String::new()).cell(cell);
        column.bare.shown = Shown::Acts;
        column
    }

    /// Sorts by a number, flush right with tabular figures.
    #[must_use]
    pub fn number(mut self, number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Self {
        self.bare.is_number = true;
        self.sorted_by(number)
    }

    /// Sorts by a number without the looks of one: times, states.
    #[must_use]
    pub fn sorted_by(mut self, number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Self {
        self.bare.number = Some(Arc::new(move |row| row.downcast_ref().map_or(0.0, &number)));
        self
    }

    /// Draws more than the text.
    #[must_use]
    pub fn cell(mut self, cell: impl Fn(&T) -> AnyView + Send + Sync + 'static) -> Self {
        self.bare.cell = Some(Arc::new(move |row| row.downcast_ref().map_or_else(|| ().into_any(), &cell)));
        self
    }

    /// Leaves the column out on small screens.
    #[must_use]
    pub fn wide_only(mut self) -> Self {
        self.bare.shown = Shown::Wide;
        self
    }

    /// Leaves the column out until it is asked for.
    #[must_use]
    pub fn hidden_at_first(mut self) -> Self {
        self.bare.shown = Shown::OnDemand;
        self
    }
}

impl BareColumn {
    /// The name of the column in addresses: `first-byte`.
    fn key(&self) -> String {
        let word = |letter: char| if letter.is_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
        self.title.chars().map(word).collect()
    }

    fn is_hidden(&self) -> bool {
        self.shown == Shown::OnDemand
    }

    fn is_acts(&self) -> bool {
        self.shown == Shown::Acts
    }

    fn is_shown(&self, view: &TableView) -> bool {
        self.is_hidden() == view.toggled.contains(&self.key())
    }

    fn class(&self) -> &'static str {
        match (self.is_number, self.shown) {
            (_, Shown::Acts) => "cell-acts",
            (false, Shown::Wide) => "wide-only",
            (true, Shown::Wide) => "cell-number wide-only",
            (false, _) => "",
            (true, _) => "cell-number",
        }
    }

    fn compare(&self, left: &Row, right: &Row) -> Ordering {
        match &self.number {
            Some(number) => number(left).total_cmp(&number(right)),
            None => (self.text)(left).to_lowercase().cmp(&(self.text)(right).to_lowercase()),
        }
    }

    fn view(&self, row: &Row) -> AnyView {
        match &self.cell {
            Some(cell) => cell(row),
            None => (self.text)(row).into_any(),
        }
    }
}

/// What a person has set on a table: a filter, an order, columns put away. Columns are named by their titles in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableView {
    pub filter: String,
    pub sort: Option<Sort>,
    /// Columns that are not as they are at first: hidden ones that would be shown, shown ones that would be hidden.
    pub toggled: Vec<String>,
}

/// Which column sorts, and whether from the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    pub column: String,
    pub descending: bool,
}

impl Sort {
    /// `cost`, or `-cost` from the largest.
    pub fn parse(text: &str) -> Option<Self> {
        let column = text.trim_start_matches('-');
        (!column.is_empty()).then(|| Self { column: column.to_owned(), descending: text.starts_with('-') })
    }
}

impl std::fmt::Display for Sort {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}{}", if self.descending { "-" } else { "" }, self.column)
    }
}

/// Where a table keeps what was set: in itself unless the page gives it a place, such as its address.
#[derive(Clone, Copy)]
pub struct TableState {
    pub view: Signal<TableView>,
    pub set: Callback<TableView>,
}

impl Default for TableState {
    fn default() -> Self {
        let kept = RwSignal::new(TableView::default());
        Self { view: kept.into(), set: Callback::new(move |view| kept.set(view)) }
    }
}

impl TableState {
    fn change(self, change: impl FnOnce(&mut TableView)) {
        let mut view = self.view.get_untracked();
        change(&mut view);
        self.set.run(view);
    }
}

/// Rows that are not here yet.
#[derive(Clone, Copy)]
pub struct More {
    pub has_more: Signal<bool>,
    pub is_busy: Signal<bool>,
    pub load: Callback<()>,
}

/// A filter or an order fetches what is missing up to so many rows.
const SEARCHED: usize = 10_000;

fn arrange(columns: &[BareColumn], rows: &[Row], view: &TableView) -> Vec<Row> {
    let wanted = view.filter.trim().to_lowercase();
    let matches = |row: &&Row| {
        wanted.is_empty() || columns.iter().any(|column| (column.text)(row).to_lowercase().contains(&wanted))
    };
    let mut rows: Vec<Row> = rows.iter().filter(matches).cloned().collect();
    if let Some(sort) = &view.sort
        && let Some(column) = columns.iter().find(|column| column.key() == sort.column)
    {
        sort::by(
            &mut rows,
            |left, right| {
                if sort.descending { column.compare(right, left) } else { column.compare(left, right) }
            },
        );
    }
    rows
}

/// One row to draw. Its stamp tells rows apart, and a row from what it was before: only what changed is drawn anew.
#[derive(Clone)]
struct Line {
    index: usize,
    stamp: String,
    row: Row,
}

/// The rows in the document by key, and how often each has changed there.
type Drawn = HashMap<String, (Row, u32)>;

/// What the table must know of a row beside its columns.
#[derive(Clone, Copy)]
struct Kind {
    key: Callback<Row, String>,
    is_same: fn(&Row, &Row) -> bool,
    on_open: Option<Callback<Row>>,
    selected: Signal<Option<String>>,
}

fn is_same<T: PartialEq + 'static>(left: &Row, right: &Row) -> bool {
    left.downcast_ref::<T>() == right.downcast_ref()
}

fn changes_of(before: Option<&(Row, u32)>, row: &Row, is_same: fn(&Row, &Row) -> bool) -> u32 {
    before.map_or(0, |(old, changes)| if is_same(old, row) { *changes } else { changes.wrapping_add(1) })
}

/// The texts of a row as shown; they may change without the row, with what its cells look up.
fn texts_of(shown: &[&BareColumn], row: &Row) -> String {
    shown.iter().fold(String::new(), |all, column| format!("{all}\u{1f}{}={}", column.title, (column.text)(row)))
}

fn step_rows(table: &web_sys::Element, forward: bool) {
    let Ok(list) = table.query_selector_all("tbody .row-open") else { return };
    let buttons: Vec<web_sys::HtmlElement> =
        (0..list.length()).filter_map(|index| list.item(index)?.dyn_into().ok()).collect();
    let active = document().active_element();
    let at = buttons.iter().position(|button| active.as_ref().is_some_and(|active| active.is_same_node(Some(button))));
    let next = match (at, forward) {
        (None, _) => 0,
        (Some(index), true) => (index + 1).min(buttons.len().saturating_sub(1)),
        (Some(index), false) => index.saturating_sub(1),
    };
    if let Some(button) = buttons.get(next) {
        // A visible button takes focus.
        let _ = button.focus();
    }
}

/// A table on `rows`. Long ones keep only the rows around the view in the document.
#[component]
pub fn DataTable<T: Clone + PartialEq + Send + Sync + 'static>(
    /// What the rows are; the caption for assistive technology.
    #[prop(into)]
    label: String,
    columns: Vec<Column<T>>,
    #[prop(into)] rows: Signal<Vec<T>>,
    key: fn(&T) -> String,
    #[prop(optional, into)] on_open: Option<Callback<T>>,
    /// The key of the row whose panel is open.
    #[prop(optional, into)]
    selected: Signal<Option<String>>,
    /// Offers a filter, columns and an export under this file name.
    #[prop(optional, into)]
    file_name: Option<&'static str>,
    /// Further filters of the page, before the table's own.
    #[prop(optional)]
    tools: Option<AnyView>,
    #[prop(optional)] state: TableState,
    /// Where further rows come from; fetched when the end comes into view.
    #[prop(optional, into)]
    more: Option<More>,
) -> impl IntoView {
    let kind = Kind {
        key: Callback::new(move |row: Row| row.downcast_ref().map(key).unwrap_or_default()),
        is_same: is_same::<T>,
        on_open: on_open.map(|on_open| {
            Callback::new(move |row: Row| {
                if let Some(row) = row.downcast_ref::<T>() {
                    on_open.run(row.clone());
                }
            })
        }),
        selected,
    };
    let columns = columns.into_iter().map(|column| column.bare).collect();
    let rows = Callback::new(move |()| rows.get().into_iter().map(|row| -> Row { Arc::new(row) }).collect());
    bare_table(BareTable { label, columns, rows, kind, file_name, tools, state, more })
}

/// A table without the type of its rows.
struct BareTable {
    label: String,
    columns: Vec<BareColumn>,
    rows: Callback<(), Vec<Row>>,
    kind: Kind,
    file_name: Option<&'static str>,
    tools: Option<AnyView>,
    state: TableState,
    more: Option<More>,
}

fn bare_table(table: BareTable) -> AnyView {
    let BareTable { label, columns, rows, kind, file_name, tools, state, more } = table;
    let columns = StoredValue::new(columns);
    let node = NodeRef::<html::Div>::new();
    let body_node = NodeRef::<html::Tbody>::new();
    // Rows are compared one by one when they are drawn, so every change of an input counts as one.
    let rows = Memo::new_with_compare(move |_| rows.run(()), |_, _| true);
    let arranged = Memo::new_with_compare(
        move |_| columns.with_value(|columns| rows.with(|rows| arrange(columns, rows, &state.view.get()))),
        |_, _| true,
    );
    let (count, n_rows) = (Memo::new(move |_| arranged.with(Vec::len)), Memo::new(move |_| rows.with(Vec::len)));
    let window = use_rows(move || body_node.get_untracked().map(|body| (*body).clone().into()), count.into());
    if let Some(more) = more {
        fetch_what_is_needed(more, window, state, n_rows.into());
    }
    let on_key = move |event: leptos::ev::KeyboardEvent| {
        if !browser::is_typing(&event) && matches!(event.key().as_str(), "j" | "k") {
            event.prevent_default();
            if let Some(node) = node.get_untracked() {
                step_rows(&node, event.key() == "j");
            }
        }
    };
    let lines = lines_of(columns, arranged, window, kind, state);
    let draw = move |line: Line| {
        let view = state.view.get_untracked();
        let place = window.is_windowed().then_some(line.index + 2);
        columns.with_value(|columns| row_view(columns, &view, line.row, place, kind))
    };
    let region = format!("Table of {}", label.to_lowercase());
    view! {
        <div class="table-block">
            {(file_name.is_some() || tools.is_some())
                .then(|| view! { <div class="table-tools">{tools} {file_name.map(|name| tools_view(name, columns, arranged, state))}</div> })}
            <div class="table-scroll" role="region" aria-label=region tabindex="0" node_ref=node on:keydown=on_key>
                <table class="table" aria-rowcount=move || window.is_windowed().then(|| (count.get() + 1).to_string())>
                    <caption class="visually-hidden">{label}</caption>
                    <thead>
                        <tr>{move || columns.with_value(|columns| head_view(columns, &state.view.get(), state))}</tr>
                    </thead>
                    <tbody node_ref=body_node>
                        {move || gap(window.gaps().0)}
                        <For each=lines key=|line| line.stamp.clone() children=draw />
                        {move || gap(window.gaps().1)}
                    </tbody>
                </table>
                {move || {
                    let filter = state.view.get().filter;
                    (count.get() == 0 && !filter.is_empty())
                        .then(|| view! { <p class="table-none">"Nothing matches “" {filter} "”."</p> })
                }}
            </div>
            {more.map(|more| view! { <MoreView more n_rows n_shown=count /> })}
        </div>
    }
    .into_any()
}

/// The rows to draw, in order.
fn lines_of(
    columns: StoredValue<Vec<BareColumn>>,
    arranged: Memo<Vec<Row>>,
    window: Rows,
    kind: Kind,
    state: TableState,
) -> impl Fn() -> Vec<Line> + Send + Sync + 'static {
    let drawn_before = StoredValue::new(Drawn::new());
    move || {
        let (view, span) = (state.view.get(), window.drawn());
        let is_windowed = window.is_windowed();
        let mut drawn = Drawn::new();
        let lines: Vec<Line> = columns.with_value(|columns| {
            let shown: Vec<&BareColumn> = columns.iter().filter(|column| column.is_shown(&view)).collect();
            arranged.with(|rows| {
                let rows = rows.iter().enumerate().take(span.end).skip(span.first);
                let line = |(index, row): (usize, &Row)| {
                    let own = kind.key.run(Arc::clone(row));
                    let change = drawn_before.with_value(|before| changes_of(before.get(&own), row, kind.is_same));
                    let place = if is_windowed { index.to_string() } else { String::new() };
                    let stamp = format!("{own} {change} {place} {}", texts_of(&shown, row));
                    drawn.insert(own, (Arc::clone(row), change));
                    Line { index, stamp, row: Arc::clone(row) }
                };
                rows.map(line).collect()
            })
        });
        drawn_before.set_value(drawn);
        lines
    }
}

/// Stands in for rows that are not drawn.
fn gap(pixels: f64) -> Option<AnyView> {
    let height = format!("{pixels}px");
    (pixels > 0.0).then(|| {
        view! { <tr class="table-gap" aria-hidden="true"><td colspan="99" style:height=height></td></tr> }.into_any()
    })
}

/// Fetches the next rows when the end is near the view, and while a filter or an order wants to see all of them.
fn fetch_what_is_needed(more: More, window: Rows, state: TableState, n_rows: Signal<usize>) {
    let is_searching = Memo::new(move |_| {
        let view = state.view.get();
        !view.filter.trim().is_empty() || view.sort.is_some()
    });
    Effect::new(move |_| {
        if !more.has_more.get() || more.is_busy.get() {
            return;
        }
        let wants_all = is_searching.get() && n_rows.get() < SEARCHED;
        if wants_all || window.is_near_end() {
            more.load.run(());
        }
    });
}

/// How many rows are here and shown, and a button for more.
#[component]
pub fn MoreView(
    more: More,
    #[prop(into)] n_rows: Signal<usize>,
    #[prop(into)] n_shown: Signal<usize>,
) -> impl IntoView {
    let grouped = |count: usize| number::grouped(u64::try_from(count).unwrap_or(u64::MAX));
    let text = move || match (n_shown.get(), n_rows.get(), more.has_more.get()) {
        (shown, all, false) if shown == all => format!("All {} shown", grouped(all)),
        (shown, all, true) if shown == all => format!("{} so far", grouped(all)),
        (shown, all, has_more) => {
            format!("{} of {}{}", grouped(shown), grouped(all), if has_more { " so far" } else { "" })
        }
    };
    // A list that is short and whole needs no words about it.
    let is_wanted = move || more.has_more.get() || n_rows.get() > 50;
    view! {
        <Show when=is_wanted>
            <div class="table-more">
                <span class="faint small number" role="status">{text}</span>
                <Show when=move || more.has_more.get()>
                    <Button size=Size::Small busy=more.is_busy on_press=more.load>"Show more"</Button>
                </Show>
            </div>
        </Show>
    }
}

fn head_view(columns: &[BareColumn], view: &TableView, state: TableState) -> AnyView {
    let heads = columns.iter().filter(|column| column.is_shown(view)).map(|column| {
        if column.is_acts() {
            return view! { <th scope="col"><span class="visually-hidden">{column.title}</span></th> }.into_any();
        }
        let (title, class) = (column.title, column.class());
        let descending = view.sort.as_ref().filter(|sort| sort.column == column.key()).map(|sort| sort.descending);
        let order = descending.map(|descending| if descending { "descending" } else { "ascending" });
        let own = column.key();
        let press = move |_| {
            let next = |descending| Some(Sort { column: own.clone(), descending });
            state.change(|view| {
                view.sort = match descending {
                    None => next(false),
                    Some(false) => next(true),
                    Some(true) => None,
                }
            });
        };
        let arrow = descending.map(|descending| view! { <Glyph icon=if descending { Icon::ArrowDown } else { Icon::ArrowUp } /> });
        view! { <th scope="col" class=class aria-sort=order><button type="button" class="sort" on:click=press>{title} {arrow}</button></th> }
            .into_any()
    });
    heads.collect_view().into_any()
}

fn row_view(columns: &[BareColumn], view: &TableView, row: Row, place: Option<usize>, kind: Kind) -> AnyView {
    let Kind { key, on_open, selected, .. } = kind;
    let own = key.run(Arc::clone(&row));
    let marked = own.clone();
    let cells = columns.iter().filter(|column| column.is_shown(view)).enumerate().map(|(position, column)| {
        let content = column.view(&row);
        let opened = Arc::clone(&row);
        match on_open {
            Some(on_open) if position == 0 => {
                let press = move |event: leptos::ev::MouseEvent| {
                    event.stop_propagation();
                    on_open.run(Arc::clone(&opened));
                };
                view! { <td class=column.class()><button type="button" class="row-open" on:click=press>{content}</button></td> }.into_any()
            }
            _ => view! { <td class=column.class()>{content}</td> }.into_any(),
        }
    });
    let cells = cells.collect_view();
    let opened = row;
    view! {
        <tr
            class:row-openable=on_open.is_some()
            aria-rowindex=place.map(|place| place.to_string())
            aria-current=move || selected.get().is_some_and(|selected| selected == marked).then_some("true")
            data-key=own
            on:click=move |_| {
                if let Some(on_open) = on_open {
                    on_open.run(Arc::clone(&opened));
                }
            }
        >
            {cells}
        </tr>
    }
    .into_any()
}

fn export(name: &str, columns: &[BareColumn], rows: &[Row]) {
    let columns: Vec<&BareColumn> = columns.iter().filter(|column| !column.is_acts()).collect();
    let header: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| (column.text)(row)).collect()).collect();
    browser::download(&format!("{name}.csv"), "text/csv", &csv::document(&header, &rows));
}

fn tools_view(
    name: &'static str,
    columns: StoredValue<Vec<BareColumn>>,
    arranged: Memo<Vec<Row>>,
    state: TableState,
) -> AnyView {
    let open = RwSignal::new(false);
    let filter_id = element_id("filter");
    let on_export = Callback::new(move |()| {
        columns.with_value(|columns| arranged.with_untracked(|rows| export(name, columns, rows)));
    });
    let titles: Vec<(String, &'static str, bool)> = columns.with_value(|columns| {
        let choosable = columns.iter().skip(1).filter(|column| !column.is_acts());
        choosable.map(|column| (column.key(), column.title, column.is_hidden())).collect()
    });
    let choices = ViewFn::from(move || {
        let items = titles.iter().cloned().map(|(key, title, is_hidden)| {
            let own = key.clone();
            let checked = Signal::derive(move || state.view.get().toggled.contains(&own) == is_hidden);
            let toggle = Callback::new(move |()| {
                state.change(|view| match view.toggled.iter().position(|other| *other == key) {
                    Some(position) => {
                        view.toggled.remove(position);
                    }
                    None => view.toggled.push(key.clone()),
                });
            });
            view! { <MenuItem text=title checked on_press=toggle /> }
        });
        items.collect_view()
    });
    view! {
        <div class="table-tools-end">
            <label class="visually-hidden" for=filter_id.clone()>"Filter"</label>
            <span class="search-box">
                <Glyph icon=Icon::Search />
                <input id=filter_id class="input" type="search" placeholder="Filter" prop:value=move || state.view.get().filter on:input=move |event| state.change(|view| view.filter = event_target_value(&event)) />
            </span>
            <Popover label=Signal::stored("Columns".to_owned()) open align=Align::End class="button button-ghost button-icon button-small" trigger=ViewFn::from(|| view! { <Glyph icon=Icon::Columns /> })>
                <div class="menu">{choices.run()}</div>
            </Popover>
            <Button size=Size::Small weight=Weight::Ghost icon=Icon::Download on_press=on_export>"CSV"</Button>
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = (&'static str, f64);

    fn columns() -> Vec<BareColumn> {
        let columns = vec![
            Column::new("Name", |row: &Pair| row.0.to_owned()),
            Column::new("Cost", |row: &Pair| row.1.to_string()).number(|row| row.1),
        ];
        columns.into_iter().map(|column| column.bare).collect()
    }

    fn arranged(rows: &[Pair], view: &TableView) -> Vec<&'static str> {
        let rows: Vec<Row> = rows.iter().map(|row| -> Row { Arc::new(*row) }).collect();
        let name = |row: &Row| row.downcast_ref::<Pair>().expect("a row of the table").0;
        arrange(&columns(), &rows, view).iter().map(name).collect()
    }

    fn view(filter: &str, sort: &str) -> TableView {
        TableView { filter: filter.to_owned(), sort: Sort::parse(sort), toggled: Vec::new() }
    }

    #[test]
    fn numbers_sort_as_numbers_and_names_without_case() {
        let rows = [("b", 10.0), ("A", 9.0), ("c", 100.0)];
        let names = |sort| arranged(&rows, &view("", sort));
        assert_eq!(names(""), ["b", "A", "c"]);
        assert_eq!(names("name"), ["A", "b", "c"]);
        assert_eq!(names("-cost"), ["c", "b", "A"]);
        assert_eq!(names("unknown"), ["b", "A", "c"]);
    }

    #[test]
    fn the_filter_looks_at_every_column() {
        let rows = [("alpha", 1.5), ("beta", 2.5)];
        assert_eq!(arranged(&rows, &view(" 2.5", "")), ["beta"]);
        assert!(arranged(&rows, &view("zeta", "")).is_empty());
    }

    #[test]
    fn a_column_is_put_away_or_asked_for() {
        let column = |is_hidden| {
            let column = Column::new("First byte", |row: &u8| row.to_string());
            if is_hidden { column.hidden_at_first().bare } else { column.bare }
        };
        let toggled = TableView { toggled: vec!["first-byte".to_owned()], ..TableView::default() };
        assert!(column(false).is_shown(&TableView::default()) && !column(false).is_shown(&toggled));
        assert!(!column(true).is_shown(&TableView::default()) && column(true).is_shown(&toggled));
        assert_eq!(Sort::parse("-first-byte").map(|sort| sort.to_string()), Some("-first-byte".to_owned()));
    }
}
