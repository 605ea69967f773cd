//! Modal dialogs and side panels on the browser's own `<dialog>`: it traps focus, closes on Escape, makes the page behind
//! inert and gives the focus back. Content exists only while open, so a secret shown in it leaves the document on closing.

use leptos::html;
use leptos::prelude::*;

use crate::button::IconButton;
use crate::element_id;
use crate::icon::Icon;
use crate::toast::Toasts;

/// Where a dialog sits and how wide it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    #[default]
    Center,
    CenterWide,
    /// A panel at the side, for looking at one row of a list.
    Side,
    /// The rail on small screens.
    Start,
}

impl Placement {
    fn class(self) -> &'static str {
        match self {
            Self::Center => "dialog",
            Self::CenterWide => "dialog dialog-wide",
            Self::Side => "dialog dialog-side",
            Self::Start => "dialog dialog-start",
        }
    }
}

/// A dialog that follows `open`; `on_close` runs for every way of closing.
#[component]
pub fn Dialog(
    #[prop(into)] open: Signal<bool>,
    on_close: Callback<()>,
    #[prop(into)] title: Signal<String>,
    #[prop(optional)] placement: Placement,
    /// Hides the head; the title remains as the accessible name.
    #[prop(optional)]
    bare: bool,
    #[prop(optional, into)] test_id: Option<&'static str>,
    children: ChildrenFn,
) -> impl IntoView {
    let node = NodeRef::<html::Dialog>::new();
    let toasts = use_context::<Toasts>();
    let title_id = element_id("dialog-title");
    Effect::new(move |_| {
        let Some(dialog) = node.get() else { return };
        match (open.get(), dialog.open()) {
            (true, false) => {
                // Fails only for an element outside the document, which a rendered node is not.
                let _ = dialog.show_modal();
            }
            (false, true) => dialog.close(),
            _ => {}
        }
        if let Some(toasts) = toasts {
            toasts.follow_dialogs();
        }
    });
    on_cleanup(move || {
        if let Some(toasts) = toasts {
            toasts.go_home();
        }
    });
    let label_id = title_id.clone();
    let on_backdrop = move |event: leptos::ev::MouseEvent| {
        // A press on the dialog element itself is a press on its backdrop; everything visible is inside a child. A press on
        // the backdrop of a dialog inside this one arrives here too, with that dialog as its target.
        if event.target().is_some() && event.target() == event.current_target() {
            on_close.run(());
        }
    };
    let close_label = Signal::stored("Close".to_owned());
    view! {
        <dialog
            node_ref=node
            class=placement.class()
            aria-labelledby=label_id
            data-testid=test_id
            on:mousedown=on_backdrop
            on:close=move |_| {
                if open.get_untracked() {
                    on_close.run(());
                }
            }
        >
            <Show when=move || open.get()>
                <div class="dialog-frame">
                    {
                        let title_id = title_id.clone();
                        if bare {
                            view! { <h2 id=title_id class="visually-hidden">{move || title.get()}</h2> }.into_any()
                        } else {
                            view! {
                                <header class="dialog-head">
                                    <h2 id=title_id>{move || title.get()}</h2>
                                    <IconButton icon=Icon::Close label=close_label on_press=Callback::new(move |()| on_close.run(())) />
                                </header>
                            }
                                .into_any()
                        }
                    }
                    {children()}
                </div>
            </Show>
        </dialog>
    }
}

/// The scrolling middle of a dialog.
#[component]
pub fn DialogBody(children: Children) -> impl IntoView {
    view! { <div class="dialog-body">{children()}</div> }
}

/// The buttons of a dialog; the last is the act.
#[component]
pub fn DialogFoot(children: Children) -> impl IntoView {
    view! { <footer class="dialog-foot">{children()}</footer> }
}
