//! The one table: sort, filter, choose columns, export, and move with the keyboard (j, k, enter).
//!
//! A column is data: its title, its text (for sorting, filtering and export) and, if wanted, a richer cell. The first column of a
//! table whose rows open is a button, so that a row is reachable without a mouse.

use std::cmp::Ordering;
use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use crate::browser;
use crate::button::{Button, Size, Weight};
use crate::element_id;
use crate::format::csv;
use crate::icon::{Glyph, Icon};
use crate::menu::{Align, MenuItem, Popover};

type TextOf<T> = Arc<dyn Fn(&T) -> String + Send + Sync>;
type NumberOf<T> = Arc<dyn Fn(&T) -> f64 + Send + Sync>;
type CellOf<T> = Arc<dyn Fn(&T) -> AnyView + Send + Sync>;

/// One column.
pub struct Column<T> {
    title: &'static str,
    is_number: bool,
    is_wide_only: bool,
    text: TextOf<T>,
    number: Option<NumberOf<T>>,
    cell: Option<CellOf<T>>,
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Self {
        Self {
            title: self.title,
            is_number: self.is_number,
            is_wide_only: self.is_wide_only,
            text: Arc::clone(&self.text),
            number: self.number.clone(),
            cell: self.cell.clone(),
        }
    }
}

impl<T> Column<T> {
    pub fn new(title: &'static str, text: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        Self { title, is_number: false, is_wide_only: false, text: Arc::new(text), number: None, cell: None }
    }

    /// Sorts by a number, flush right with tabular figures.
    #[must_use]
    pub fn number(mut self, number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Self {
        self.is_number = true;
        self.number = Some(Arc::new(number));
        self
    }

    /// Sorts by a number without the looks of one: times, states.
    #[must_use]
    pub fn sorted_by(mut self, number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Self {
        self.number = Some(Arc::new(number));
        self
    }

    /// Draws more than the text.
    #[must_use]
    pub fn cell(mut self, cell: impl Fn(&T) -> AnyView + Send + Sync + 'static) -> Self {
        self.cell = Some(Arc::new(cell));
        self
    }

    /// Leaves the column out on small screens.
    #[must_use]
    pub fn wide_only(mut self) -> Self {
        self.is_wide_only = true;
        self
    }

    fn class(&self) -> &'static str {
        match (self.is_number, self.is_wide_only) {
            (false, false) => "",
            (true, false) => "cell-number",
            (false, true) => "wide-only",
            (true, true) => "cell-number wide-only",
        }
    }

    fn compare(&self, left: &T, right: &T) -> Ordering {
        match &self.number {
            Some(number) => number(left).total_cmp(&number(right)),
            None => (self.text)(left).to_lowercase().cmp(&(self.text)(right).to_lowercase()),
        }
    }

    fn view(&self, row: &T) -> AnyView {
        match &self.cell {
            Some(cell) => cell(row),
            None => (self.text)(row).into_any(),
        }
    }
}

/// Which column sorts, and whether from the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sort {
    column: Option<usize>,
    descending: bool,
}

fn arrange<T: Clone>(columns: &[Column<T>], rows: &[T], filter: &str, sort: Sort) -> Vec<T> {
    let wanted = filter.trim().to_lowercase();
    let matches = |row: &&T| {
        wanted.is_empty() || columns.iter().any(|column| (column.text)(row).to_lowercase().contains(&wanted))
    };
    let mut rows: Vec<T> = rows.iter().filter(matches).cloned().collect();
    if let Some(column) = sort.column.and_then(|index| columns.get(index)) {
        rows.sort_by(
            |left, right| if sort.descending { column.compare(right, left) } else { column.compare(left, right) },
        );
    }
    rows
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

/// A table on `rows`.
#[component]
pub fn DataTable<T: Clone + Send + Sync + 'static>(
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
    /// What there is to say when the filter leaves nothing.
    #[prop(optional)]
    tools: Option<AnyView>,
) -> impl IntoView {
    let columns = StoredValue::new(columns);
    let filter = RwSignal::new(String::new());
    let sort = RwSignal::new(Sort::default());
    let hidden = RwSignal::new(Vec::<usize>::new());
    let node = NodeRef::<html::Div>::new();
    let arranged = Signal::derive(move || {
        columns.with_value(|columns| rows.with(|rows| arrange(columns, rows, &filter.get(), sort.get())))
    });
    let on_key = move |event: leptos::ev::KeyboardEvent| {
        if !browser::is_typing(&event) && matches!(event.key().as_str(), "j" | "k") {
            event.prevent_default();
            if let Some(node) = node.get_untracked() {
                step_rows(&node, event.key() == "j");
            }
        }
    };
    let body = move || {
        let hidden = hidden.get();
        arranged
            .get()
            .into_iter()
            .map(|row| columns.with_value(|columns| row_view(columns, &hidden, row, key, on_open, selected)))
            .collect_view()
    };
    let region = format!("Table of {}", label.to_lowercase());
    view! {
        <div class="table-block">
            {(file_name.is_some() || tools.is_some())
                .then(|| view! { <div class="table-tools">{tools} {file_name.map(|name| tools_view(name, columns, arranged, filter, hidden))}</div> })}
            <div class="table-scroll" role="region" aria-label=region tabindex="0" node_ref=node on:keydown=on_key>
                <table class="table">
                    <caption class="visually-hidden">{label}</caption>
                    <thead>
                        <tr>{move || columns.with_value(|columns| head_view(columns, &hidden.get(), sort))}</tr>
                    </thead>
                    <tbody>{body}</tbody>
                </table>
                {move || {
                    (arranged.with(Vec::is_empty) && !filter.get().is_empty())
                        .then(|| view! { <p class="table-none">"Nothing matches “" {filter.get()} "”."</p> })
                }}
            </div>
        </div>
    }
}

fn head_view<T>(columns: &[Column<T>], hidden: &[usize], sort: RwSignal<Sort>) -> AnyView {
    let heads = columns.iter().enumerate().filter(|(index, _)| !hidden.contains(index)).map(|(index, column)| {
        let (title, class) = (column.title, column.class());
        let state = move || (sort.get().column == Some(index)).then_some(if sort.get().descending { "descending" } else { "ascending" });
        let press = move |_| {
            sort.update(|sort| {
                *sort = match (sort.column == Some(index), sort.descending) {
                    (false, _) => Sort { column: Some(index), descending: false },
                    (true, false) => Sort { column: Some(index), descending: true },
                    (true, true) => Sort::default(),
                }
            });
        };
        view! {
            <th scope="col" class=class aria-sort=state>
                <button type="button" class="sort" on:click=press>
                    {title}
                    {move || {
                        state().map(|state| view! { <Glyph icon=if state == "descending" { Icon::ArrowDown } else { Icon::ArrowUp } /> })
                    }}
                </button>
            </th>
        }
    });
    heads.collect_view().into_any()
}

fn row_view<T: Clone + Send + Sync + 'static>(
    columns: &[Column<T>],
    hidden: &[usize],
    row: T,
    key: fn(&T) -> String,
    on_open: Option<Callback<T>>,
    selected: Signal<Option<String>>,
) -> AnyView {
    let own = key(&row);
    let marked = own.clone();
    let cells = columns.iter().enumerate().filter(|(index, _)| !hidden.contains(index)).enumerate().map(|(position, (_, column))| {
        let content = column.view(&row);
        let opened = row.clone();
        match on_open {
            Some(on_open) if position == 0 => {
                let press = move |event: leptos::ev::MouseEvent| {
                    event.stop_propagation();
                    on_open.run(opened.clone());
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
            aria-current=move || selected.get().is_some_and(|selected| selected == marked).then_some("true")
            data-key=own
            on:click=move |_| {
                if let Some(on_open) = on_open {
                    on_open.run(opened.clone());
                }
            }
        >
            {cells}
        </tr>
    }
    .into_any()
}

fn tools_view<T: Clone + Send + Sync + 'static>(
    name: &'static str,
    columns: StoredValue<Vec<Column<T>>>,
    arranged: Signal<Vec<T>>,
    filter: RwSignal<String>,
    hidden: RwSignal<Vec<usize>>,
) -> AnyView {
    let open = RwSignal::new(false);
    let filter_id = element_id("filter");
    let export = move |()| {
        let text = columns.with_value(|columns| {
            let header: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
            let rows: Vec<Vec<String>> = arranged
                .get_untracked()
                .iter()
                .map(|row| columns.iter().map(|column| (column.text)(row)).collect())
                .collect();
            csv::document(&header, &rows)
        });
        browser::download(&format!("{name}.csv"), "text/csv", &text);
    };
    let titles = columns.with_value(|columns| columns.iter().map(|column| column.title).collect::<Vec<_>>());
    let choices = ViewFn::from(move || {
        let items = titles.iter().enumerate().skip(1).map(|(index, title)| {
            let checked = Signal::derive(move || !hidden.with(|hidden| hidden.contains(&index)));
            let toggle = Callback::new(move |()| {
                hidden.update(|hidden| match hidden.iter().position(|other| *other == index) {
                    Some(position) => {
                        hidden.remove(position);
                    }
                    None => hidden.push(index),
                });
            });
            view! { <MenuItem text=*title checked on_press=toggle /> }
        });
        items.collect_view()
    });
    view! {
        <div class="table-tools-end">
            <label class="visually-hidden" for=filter_id.clone()>"Filter"</label>
            <span class="search-box">
                <Glyph icon=Icon::Search />
                <input id=filter_id class="input" type="search" placeholder="Filter" prop:value=move || filter.get() on:input=move |event| filter.set(event_target_value(&event)) />
            </span>
            <Popover label=Signal::stored("Columns".to_owned()) open align=Align::End class="button button-ghost button-icon button-small" trigger=ViewFn::from(|| view! { <Glyph icon=Icon::Columns /> })>
                <div class="menu">{choices.run()}</div>
            </Popover>
            <Button size=Size::Small weight=Weight::Ghost icon=Icon::Download on_press=Callback::new(export)>"CSV"</Button>
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column<(&'static str, f64)>> {
        vec![
            Column::new("Name", |row: &(&str, f64)| row.0.to_owned()),
            Column::new("Cost", |row: &(&str, f64)| row.1.to_string()).number(|row| row.1),
        ]
    }

    #[test]
    fn numbers_sort_as_numbers_and_names_without_case() {
        let rows = [("b", 10.0), ("A", 9.0), ("c", 100.0)];
        let names = |sort| arrange(&columns(), &rows, "", sort).into_iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(names(Sort::default()), ["b", "A", "c"]);
        assert_eq!(names(Sort { column: Some(0), descending: false }), ["A", "b", "c"]);
        assert_eq!(names(Sort { column: Some(1), descending: true }), ["c", "b", "A"]);
    }

    #[test]
    fn the_filter_looks_at_every_column() {
        let rows = [("alpha", 1.5), ("beta", 2.5)];
        assert_eq!(arrange(&columns(), &rows, " 2.5", Sort::default()), [("beta", 2.5)]);
        assert!(arrange(&columns(), &rows, "zeta", Sort::default()).is_empty());
    }
}
