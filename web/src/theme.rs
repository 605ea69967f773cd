//! Light, dark, or as the system says. The choice is remembered on this machine and set on the root element.

use leptos::prelude::*;

use ui::browser;

/// The choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    System,
    Light,
    Dark,
}

impl Choice {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    pub(crate) fn find(key: &str) -> Self {
        Self::ALL.into_iter().find(|choice| choice.key() == key).unwrap_or(Self::System)
    }
}

/// The theme, from context.
#[derive(Clone, Copy)]
pub(crate) struct Theme(pub(crate) RwSignal<Choice>);

impl Theme {
    pub(crate) fn provide() -> Self {
        let remembered = browser::remembered("theme").map_or(Choice::System, |key| Choice::find(&key));
        let theme = Self(RwSignal::new(remembered));
        Effect::new(move |_| {
            let choice = theme.0.get();
            browser::set_root_attribute("data-theme", (choice != Choice::System).then_some(choice.key()));
            match choice {
                Choice::System => browser::forget("theme"),
                _ => browser::remember("theme", choice.key()),
            }
        });
        provide_context(theme);
        theme
    }
}
