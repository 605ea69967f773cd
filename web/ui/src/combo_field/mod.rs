//! A text field with suggestions that somebody else looks up: any text may be typed, the list helps to find what is known.
//!
//! The list opens while one types, arrow keys move in it, Enter takes, Escape leaves the text as it is.

use std::time::Duration;

use leptos::prelude::*;

use crate::check_list::Item;
use crate::element_id;
use crate::field::Field;

/// A pause in typing after which suggestions are looked up.
const PAUSE: Duration = Duration::from_millis(150);

/// The index after an arrow key, over the ends.
fn step(at: Option<usize>, count: usize, forward: bool) -> Option<usize> {
    match (at, count) {
        (_, 0) => None,
        (None, _) => Some(if forward { 0 } else { count - 1 }),
        (Some(at), _) => Some(if forward { (at + 1) % count } else { (at + count - 1) % count }),
    }
}

/// What the parts of the field share.
#[derive(Clone, Copy)]
struct Combo {
    value: RwSignal<String>,
    items: Signal<Vec<Item>>,
    on_search: Callback<String>,
    open: RwSignal<bool>,
    at: RwSignal<Option<usize>>,
}

impl Combo {
    fn take(self, item: &Item) {
        self.value.set(item.value.clone());
        self.open.set(false);
        self.at.set(None);
    }

    fn show(self) {
        self.on_search.run(String::new());
        self.open.set(true);
    }

    fn on_key(self, event: &leptos::ev::KeyboardEvent) {
        let key = event.key();
        match key.as_str() {
            "ArrowDown" | "ArrowUp" if !self.open.get_untracked() => self.show(),
            "ArrowDown" | "ArrowUp" => {
                let count = self.items.with_untracked(Vec::len);
                self.at.update(|at| *at = step(*at, count, key == "ArrowDown"));
            }
            "Enter" if self.open.get_untracked() && self.at.get_untracked().is_some() => {
                let chosen = self.items.with_untracked(|items| items.get(self.at.get_untracked()?).cloned());
                if let Some(item) = chosen {
                    self.take(&item);
                }
            }
            // The dialog around it stays open: this key was for the list.
            "Escape" if self.open.get_untracked() => self.open.set(false),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    }

    fn line(self, list_id: &str, index: usize, item: Item) -> AnyView {
        let chosen = item.clone();
        // Before the field loses the focus, which closes the list.
        let press = move |event: leptos::ev::PointerEvent| {
            event.prevent_default();
            self.take(&chosen);
        };
        view! {
            <li
                class="combo-item"
                id=format!("{list_id}-{index}")
                role="option"
                aria-selected=move || if self.at.get() == Some(index) { "true" } else { "false" }
                on:pointermove=move |_| self.at.set(Some(index))
                on:pointerdown=press
            >
                <code class="truncate">{item.text}</code>
                <span class="faint small push">{item.detail}</span>
            </li>
        }
        .into_any()
    }
}

/// The field.
#[component]
pub fn ComboField(
    #[prop(into)] label: String,
    value: RwSignal<String>,
    /// What matches what was last searched for.
    #[prop(into)]
    items: Signal<Vec<Item>>,
    /// Called with the text after a pause in typing, and with none when the list is opened otherwise.
    on_search: Callback<String>,
    #[prop(into)] hint: String,
    error: Signal<Option<String>>,
) -> impl IntoView {
    let (open, at) = (RwSignal::new(false), RwSignal::new(None::<usize>));
    let id = element_id("field");
    let (list_id, control_id, describe_id) = (format!("{id}-list"), id.clone(), id.clone());
    let typed = StoredValue::new(0_u32);
    let combo = Combo { value, items, on_search, open, at };
    let on_input = move |event: leptos::ev::Event| {
        let text = event_target_value(&event);
        value.set(text.clone());
        open.set(true);
        at.set(None);
        let number = typed.get_value().wrapping_add(1);
        typed.set_value(number);
        let search = move || {
            if typed.try_get_value() == Some(number) {
                on_search.run(text.clone());
            }
        };
        set_timeout(search, PAUSE);
    };
    let own_id = list_id.clone();
    let lines = move || {
        let lines = items.get().into_iter().enumerate().map(|(index, item)| combo.line(&own_id, index, item));
        lines.collect_view()
    };
    let (controls, active) = (list_id.clone(), list_id.clone());
    view! {
        <Field id label hint error>
            <div class="combo">
                <input
                    id=control_id
                    class="input input-code"
                    type="text"
                    role="combobox"
                    autocomplete="off"
                    spellcheck="false"
                    aria-autocomplete="list"
                    aria-expanded=move || if open.get() { "true" } else { "false" }
                    aria-controls=controls
                    aria-activedescendant=move || at.get().filter(|_| open.get()).map(|at| format!("{active}-{at}"))
                    aria-invalid=move || error.get().map(|_| "true")
                    aria-describedby=move || if error.get().is_some() { format!("{describe_id}-hint {describe_id}-error") } else { format!("{describe_id}-hint") }
                    prop:value=move || value.get()
                    on:input=on_input
                    on:keydown=move |event| combo.on_key(&event)
                    on:click=move |_| combo.show()
                    on:blur=move |_| open.set(false)
                />
                <ul class="combo-list" id=list_id role="listbox" aria-label="Suggestions" hidden=move || !open.get() || items.with(Vec::is_empty)>{lines}</ul>
            </div>
        </Field>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_go_over_the_ends() {
        assert_eq!([step(None, 3, true), step(Some(2), 3, true), step(Some(0), 3, true)], [Some(0), Some(0), Some(1)]);
        assert_eq!([step(None, 3, false), step(Some(0), 3, false), step(Some(0), 0, true)], [Some(2), Some(2), None]);
    }
}
