//! Buttons and links that look like buttons. An icon-only button carries its name as a label.

use leptos::prelude::*;

use crate::icon::{Glyph, Icon};

/// How loudly a button speaks. One `Primary` per view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weight {
    #[default]
    Secondary,
    Primary,
    Ghost,
    Danger,
}

/// The height of a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Size {
    #[default]
    Regular,
    Small,
}

pub fn class_of(weight: Weight, size: Size) -> String {
    let weight = match weight {
        Weight::Secondary => "button-secondary",
        Weight::Primary => "button-primary",
        Weight::Ghost => "button-ghost",
        Weight::Danger => "button-danger",
    };
    let size = if size == Size::Small { " button-small" } else { "" };
    format!("button {weight}{size}")
}

/// A push button. While `busy` it keeps its width, cannot be pressed again and says so to assistive technology.
#[component]
pub fn Button(
    #[prop(optional)] weight: Weight,
    #[prop(optional)] size: Size,
    #[prop(optional, into)] icon: Option<Icon>,
    #[prop(optional, into)] busy: Signal<bool>,
    #[prop(optional, into)] disabled: Signal<bool>,
    /// Submits the form it is in instead of calling `on_press`.
    #[prop(optional)]
    submits: bool,
    #[prop(optional, into)] on_press: Option<Callback<()>>,
    #[prop(optional, into)] test_id: Option<&'static str>,
    children: Children,
) -> impl IntoView {
    view! {
        <button
            type=if submits { "submit" } else { "button" }
            class=class_of(weight, size)
            disabled=move || busy.get() || disabled.get()
            aria-busy=move || busy.get().then_some("true")
            data-testid=test_id
            on:click=move |_| {
                if let Some(on_press) = on_press {
                    on_press.run(());
                }
            }
        >
            {icon.map(|icon| view! { <Glyph icon /> })}
            <span class="button-label">{children()}</span>
        </button>
    }
}

/// A square button that shows only an icon; the label is its name and its tooltip.
#[component]
pub fn IconButton(
    icon: Icon,
    #[prop(into)] label: Signal<String>,
    #[prop(optional)] size: Size,
    #[prop(optional, into)] disabled: Signal<bool>,
    #[prop(into)] on_press: Callback<()>,
    #[prop(optional, into)] test_id: Option<&'static str>,
) -> impl IntoView {
    view! {
        <button
            type="button"
            class=format!("{} button-icon", class_of(Weight::Ghost, size))
            aria-label=move || label.get()
            title=move || label.get()
            data-testid=test_id
            disabled=move || disabled.get()
            on:click=move |_| on_press.run(())
        >
            <Glyph icon />
        </button>
    }
}

/// A link with the looks of a button, for going somewhere.
#[component]
pub fn LinkButton(
    #[prop(into)] href: Signal<String>,
    #[prop(optional)] weight: Weight,
    #[prop(optional)] size: Size,
    #[prop(optional, into)] icon: Option<Icon>,
    children: Children,
) -> impl IntoView {
    view! {
        <a class=class_of(weight, size) href=move || href.get()>
            {icon.map(|icon| view! { <Glyph icon /> })}
            <span class="button-label">{children()}</span>
        </a>
    }
}
