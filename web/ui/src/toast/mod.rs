//! Short messages after an act, in a live region; they leave by themselves, errors stay until dismissed.

use std::sync::Arc;
use std::time::Duration;

use leptos::html;
use leptos::prelude::*;

use crate::Tone;
use crate::button::{Button, IconButton, Size};
use crate::icon::{Glyph, Icon};

/// Outlives the view that made it, as a handle of that view would not.
type Undo = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
struct Toast {
    id: u32,
    tone: Tone,
    text: String,
    undo: Option<Undo>,
}

/// How long a message stays, and how long one that can be undone.
const STAYS: Duration = Duration::from_secs(5);
const STAYS_TO_UNDO: Duration = Duration::from_secs(10);

/// The messages on screen; taken from context.
#[derive(Clone, Copy)]
pub struct Toasts {
    shown: RwSignal<Vec<Toast>>,
    next: StoredValue<u32>,
    region: NodeRef<html::Section>,
}

impl Toasts {
    pub fn provide() -> Self {
        let toasts = Self { shown: RwSignal::new(Vec::new()), next: StoredValue::new(0), region: NodeRef::new() };
        provide_context(toasts);
        toasts
    }

    pub fn done(self, text: impl Into<String>) {
        let id = self.push(Tone::Ok, text.into(), None);
        set_timeout(move || self.dismiss(id), STAYS);
    }

    /// Says what was done and offers to take it back for ten seconds.
    pub fn done_with_undo(self, text: impl Into<String>, undo: impl Fn() + Send + Sync + 'static) {
        let id = self.push(Tone::Ok, text.into(), Some(Arc::new(undo)));
        set_timeout(move || self.dismiss(id), STAYS_TO_UNDO);
    }

    pub fn failed(self, text: impl Into<String>) {
        self.push(Tone::Danger, text.into(), None);
    }

    /// Puts the messages into the topmost open dialog, or home: outside of a modal dialog nothing can be pressed or heard.
    pub(crate) fn follow_dialogs(self) {
        let open = document().query_selector_all("dialog:modal").ok();
        let top = open.and_then(|open| open.item(open.length().checked_sub(1)?));
        self.move_into(top);
    }

    /// Takes the messages out of whatever dialog they are in, before that is gone.
    pub(crate) fn go_home(self) {
        self.move_into(None);
    }

    fn move_into(self, place: Option<web_sys::Node>) {
        let home = document().body().map(Into::into);
        if let (Some(region), Some(place)) = (self.region.get_untracked(), place.or(home))
            && region.parent_node().as_ref() != Some(&place)
        {
            // A node can be moved within its document.
            let _ = place.append_child(&region);
        }
    }

    fn push(self, tone: Tone, text: String, undo: Option<Undo>) -> u32 {
        self.follow_dialogs();
        let id = self.next.get_value().wrapping_add(1);
        self.next.set_value(id);
        self.shown.update(|shown| {
            shown.retain(|toast| toast.text != text);
            shown.push(Toast { id, tone, text, undo });
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
        <section class="toasts" node_ref=toasts.region aria-label="Messages" aria-live="polite">
            <For each=move || toasts.shown.get() key=|toast| toast.id let:toast>
                <div class=format!("toast {}", toast.tone.class())>
                    <span class="toast-icon"><Glyph icon=if toast.tone == Tone::Danger { Icon::Warning } else { Icon::Check } /></span>
                    <p>{toast.text}</p>
                    {toast.undo.map(|undo| {
                        let press = Callback::new(move |()| {
                            toasts.dismiss(toast.id);
                            undo();
                        });
                        view! { <Button size=Size::Small on_press=press>"Undo"</Button> }
                    })}
                    <IconButton icon=Icon::Close size=Size::Small label=close on_press=Callback::new(move |()| toasts.dismiss(toast.id)) />
                </div>
            </For>
        </section>
    }
}
