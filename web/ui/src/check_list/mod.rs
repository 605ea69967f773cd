//! Choosing several of many: a filter and a list of check boxes, with the choice above as tags.

use leptos::prelude::*;

use crate::element_id;
use crate::icon::{Glyph, Icon};

/// One thing to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub value: String,
    pub text: String,
    pub detail: String,
}

fn matching(items: &[Item], filter: &str) -> Vec<Item> {
    let wanted = filter.trim().to_lowercase();
    items
        .iter()
        .filter(|item| wanted.is_empty() || format!("{} {}", item.text, item.detail).to_lowercase().contains(&wanted))
        .cloned()
        .collect()
}

/// The list.
#[component]
pub fn CheckList(
    #[prop(into)] label: String,
    #[prop(into)] hint: String,
    #[prop(into)] items: Signal<Vec<Item>>,
    chosen: RwSignal<Vec<String>>,
) -> impl IntoView {
    let filter = RwSignal::new(String::new());
    let hint_id = element_id("hint");
    let toggle = move |value: &str, on: bool| {
        chosen.update(|chosen| {
            chosen.retain(|other| other != value);
            if on {
                chosen.push(value.to_owned());
            }
        });
    };
    let lines = move || {
        let lines = items.with(|items| matching(items, &filter.get())).into_iter().map(|item| {
            let (own, value) = (item.value.clone(), item.value);
            view! {
                <label class="check-line">
                    <input
                        type="checkbox"
                        prop:checked=move || chosen.with(|chosen| chosen.contains(&own))
                        on:change=move |event| toggle(&value, event_target_checked(&event))
                    />
                    <span class="truncate">{item.text}</span>
                    <span class="faint small push">{item.detail}</span>
                </label>
            }
        });
        lines.collect_view()
    };
    let described_by = hint_id.clone();
    view! {
        <fieldset class="field" aria-describedby=described_by>
            <legend class="field-label">{label}</legend>
            <p class="field-hint" id=hint_id>{hint}</p>
            <div class="check-list">
                <Show when=move || items.with(|items| items.len() > 6)>
                    <span class="search-box check-search">
                        <Glyph icon=Icon::Search />
                        <input class="input" type="search" aria-label="Filter the list" placeholder="Filter" prop:value=move || filter.get() on:input=move |event| filter.set(event_target_value(&event)) />
                    </span>
                </Show>
                <div class="check-lines" tabindex="-1">{lines}</div>
            </div>
        </fieldset>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_reads_text_and_detail() {
        let item = |text: &str, detail: &str| Item { value: text.into(), text: text.into(), detail: detail.into() };
        let items = [item("gpt-4o", "openai"), item("claude", "anthropic")];
        assert_eq!(matching(&items, "ANTH").len(), 1);
        assert_eq!(matching(&items, " ").len(), 2);
    }
}
