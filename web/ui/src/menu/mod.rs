//! A button that opens a small panel under it: menus, pickers, switchers.
//!
//! Escape and a press elsewhere close it, the focus returns to the button; arrow keys move between the items inside.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use crate::browser;
use crate::element_id;
use crate::icon::{Glyph, Icon};

/// To which side of its button a panel opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Align {
    #[default]
    Start,
    End,
}

fn focusable(panel: &web_sys::Element) -> Vec<web_sys::HtmlElement> {
    let Ok(list) = panel.query_selector_all("a[href], button:not(:disabled), input, select") else { return Vec::new() };
    (0..list.length()).filter_map(|index| list.item(index)?.dyn_into().ok()).collect()
}

fn move_focus(panel: &web_sys::Element, key: &str) -> bool {
    let items = focusable(panel);
    let active = document().active_element();
    let at = items.iter().position(|item| active.as_ref().is_some_and(|active| active.is_same_node(Some(item))));
    let next = match (key, at) {
        ("ArrowDown", Some(index)) => (index + 1) % items.len(),
        ("ArrowUp", Some(0)) | ("End", _) => items.len().saturating_sub(1),
        ("ArrowUp", Some(index)) => index - 1,
        ("ArrowDown" | "ArrowUp" | "Home", _) => 0,
        _ => return false,
    };
    if let Some(item) = items.get(next) {
        // A visible item takes focus.
        let _ = item.focus();
    }
    true
}

/// A button with a panel. `open` may be shared, so that an item can close the panel it is in.
#[component]
pub fn Popover(
    #[prop(into)] label: Signal<String>,
    open: RwSignal<bool>,
    #[prop(optional)] align: Align,
    #[prop(optional)] class: &'static str,
    #[prop(optional, into)] test_id: Option<&'static str>,
    /// What the button shows.
    trigger: ViewFn,
    children: ChildrenFn,
) -> impl IntoView {
    let wrapper = NodeRef::<html::Div>::new();
    let panel = NodeRef::<html::Div>::new();
    let button_id = element_id("popover");
    let focus_id = button_id.clone();
    let close = move || {
        open.set(false);
        browser::focus(&focus_id);
    };
    Effect::new(move |_| {
        if let (true, Some(panel)) = (open.get(), panel.get())
            && let Some(first) = focusable(&panel).first()
        {
            // As above.
            let _ = first.focus();
        }
    });
    let outside = window_event_listener(leptos::ev::pointerdown, move |event| {
        let target = event.target().and_then(|target| target.dyn_into::<web_sys::Node>().ok());
        let inside = wrapper.get_untracked().is_some_and(|wrapper| wrapper.contains(target.as_ref()));
        if open.get_untracked() && !inside {
            open.set(false);
        }
    });
    on_cleanup(move || outside.remove());
    let on_key = move |event: leptos::ev::KeyboardEvent| {
        let key = event.key();
        if key == "Escape" && open.get_untracked() {
            event.prevent_default();
            event.stop_propagation();
            close();
        } else if panel.get_untracked().is_some_and(|panel| move_focus(&panel, &key)) {
            event.prevent_default();
        }
    };
    let on_leave = move |event: leptos::ev::FocusEvent| {
        let next = event.related_target().and_then(|target| target.dyn_into::<web_sys::Node>().ok());
        let left =
            next.is_some_and(|next| wrapper.get_untracked().is_some_and(|wrapper| !wrapper.contains(Some(&next))));
        if left {
            open.set(false);
        }
    };
    view! {
        <div class="popover" node_ref=wrapper on:keydown=on_key on:focusout=on_leave>
            <button
                type="button"
                id=button_id
                class=if class.is_empty() { "popover-button" } else { class }
                aria-haspopup="dialog"
                aria-expanded=move || if open.get() { "true" } else { "false" }
                title=move || label.get()
                data-testid=test_id
                on:click=move |_| open.update(|open| *open = !*open)
            >
                <span class="visually-hidden">{move || label.get()}</span>
                {trigger.run()}
            </button>
            <Show when=move || open.get()>
                <div
                    class=match align { Align::Start => "popover-panel", Align::End => "popover-panel popover-end" }
                    role="dialog"
                    aria-label=move || label.get()
                    node_ref=panel
                >
                    {children()}
                </div>
            </Show>
        </div>
    }
}

/// One act in a menu.
#[component]
pub fn MenuItem(
    #[prop(optional, into)] icon: Option<Icon>,
    #[prop(into)] text: String,
    #[prop(optional)] danger: bool,
    #[prop(optional, into)] checked: Option<Signal<bool>>,
    #[prop(into)] on_press: Callback<()>,
) -> impl IntoView {
    view! {
        <button type="button" class="menu-item" class:menu-item-danger=danger aria-pressed=move || checked.map(|checked| if checked.get() { "true" } else { "false" }) on:click=move |_| on_press.run(())>
            {icon.map(|icon| view! { <Glyph icon /> })}
            <span class="truncate">{text}</span>
            {move || checked.is_some_and(|checked| checked.get()).then(|| view! { <span class="push"><Glyph icon=Icon::Check /></span> })}
        </button>
    }
}

/// One place to go in a menu.
#[component]
pub fn MenuLink(
    #[prop(optional, into)] icon: Option<Icon>,
    #[prop(into)] text: String,
    #[prop(into)] href: String,
    open: RwSignal<bool>,
) -> impl IntoView {
    view! {
        <a class="menu-item" href=href on:click=move |_| open.set(false)>
            {icon.map(|icon| view! { <Glyph icon /> })}
            <span class="truncate">{text}</span>
        </a>
    }
}
