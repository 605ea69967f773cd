//! Short messages after an act, in a live region; they leave by themselves, errors stay until dismissed.

use std::time::Duration;

use leptos::prelude::*;

use crate::Tone;
use crate::button::{IconButton, Size};
use crate::icon::{Glyph, Icon};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Toast {
    id: u32,
    tone: Tone,
    text: String,
}

/// The messages on screen; taken from context.
#[derive(Clone, Copy)]
pub struct Toasts {
    shown: RwSignal<Vec<Toast>>,
    next: StoredValue<u32>,
}

impl Toasts {
    pub fn provide() -> Self {
        let toasts = Self { shown: RwSignal::new(Vec::new()), next: StoredValue::new(0) };
        provide_context(toasts);
        toasts
    }

    pub fn done(self, text: impl Into<String>) {
        let id = self.push(Tone::Ok, text.into());
        set_timeout(move || self.dismiss(id), Duration::from_secs(5));
    }

    pub fn failed(self, text: impl Into<String>) {
        self.push(Tone::Danger, text.into());
    }

    fn push(self, tone: Tone, text: String) -> u32 {
        let id = self.next.get_value().wrapping_add(1);
        self.next.set_value(id);
        self.shown.update(|shown| {
            shown.retain(|toast| toast.text != text);
            shown.push(Toast { id, tone, text });
        });
        id
    }

    fn dismiss(self, id: u32) {
        self.shown.update(|shown| shown.retain(|toast| toast.id != id));
    }
}

/// Where the messages appear.
#[component]
pub fn ToastRegion(toasts: Toasts) -> impl IntoView {
    let close = Signal::stored("Dismiss".to_owned());
    view! {
        <section class="toasts" aria-label="Messages" aria-live="polite">
            <For each=move || toasts.shown.get() key=|toast| toast.id let:toast>
                <div class=format!("toast {}", toast.tone.class())>
                    <span class="toast-icon"><Glyph icon=if toast.tone == Tone::Danger { Icon::Warning } else { Icon::Check } /></span>
                    <p>{toast.text}</p>
                    <IconButton icon=Icon::Close size=Size::Small label=close on_press=Callback::new(move |()| toasts.dismiss(toast.id)) />
                </div>
            </For>
        </section>
    }
}
