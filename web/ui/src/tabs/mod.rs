//! Tabs inside a page: arrow keys move, the panel follows. Which tab is open belongs to the address, so it comes in as a signal.

use leptos::prelude::*;

use crate::browser;
use crate::element_id;

/// A tab: its key in the address and its words.
pub type Tab = (&'static str, &'static str);

/// The row of tabs and the panel of the open one.
#[component]
pub fn Tabs(
    #[prop(into)] label: String,
    tabs: Vec<Tab>,
    #[prop(into)] current: Signal<String>,
    on_change: Callback<String>,
    /// Draws the panel of a key.
    panel: Callback<String, AnyView>,
) -> impl IntoView {
    let base = element_id("tabs");
    let keys: Vec<&'static str> = tabs.iter().map(|tab| tab.0).collect();
    let open = Memo::new({
        let keys = keys.clone();
        move |_| keys.iter().find(|key| **key == current.get()).or(keys.first()).copied().unwrap_or_default()
    });
    let panel_id = format!("{base}-panel");
    let on_key = {
        let base = base.clone();
        move |event: leptos::ev::KeyboardEvent| {
            let at = keys.iter().position(|key| *key == open.get_untracked()).unwrap_or(0);
            let next = match event.key().as_str() {
                "ArrowRight" => (at + 1) % keys.len(),
                "ArrowLeft" => (at + keys.len() - 1) % keys.len(),
                "Home" => 0,
                "End" => keys.len() - 1,
                _ => return,
            };
            event.prevent_default();
            if let Some(key) = keys.get(next) {
                on_change.run((*key).to_owned());
                browser::focus(&format!("{base}-{key}"));
            }
        }
    };
    let controls = panel_id.clone();
    let label_base = base.clone();
    view! {
        <div class="tabs" role="tablist" aria-label=label on:keydown=on_key>
            {tabs
                .into_iter()
                .map(|(key, text)| {
                    let selected = move || open.get() == key;
                    view! {
                        <button
                            type="button"
                            role="tab"
                            class="tab"
                            id=format!("{base}-{key}")
                            aria-selected=move || if selected() { "true" } else { "false" }
                            aria-controls=controls.clone()
                            tabindex=move || if selected() { "0" } else { "-1" }
                            on:click=move |_| on_change.run(key.to_owned())
                        >
                            {text}
                        </button>
                    }
                })
                .collect_view()}
        </div>
        <div class="tab-panel" role="tabpanel" id=panel_id aria-labelledby=move || format!("{label_base}-{}", open.get())>
            {move || panel.run(open.get().to_owned())}
        </div>
    }
}
