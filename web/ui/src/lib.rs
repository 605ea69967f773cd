//! The console's own primitives: look, keyboard and ARIA in one place, styled by roles only.
//!
//! Knows no API and no entity; `format` and `browser` know the domain's instants and amounts, nothing more. Invariant: a
//! primitive that can be pressed, typed into or opened has an accessible name.

#![expect(clippy::needless_pass_by_value, reason = "component properties are owned by the component")]
#![expect(
    missing_docs,
    reason = "a property of a component says by its name what it is; what its name does not say is written"
)]

pub mod avatar;
pub mod badge;
pub mod browser;
pub mod button;
pub mod chart;
pub mod check_list;
pub mod code_block;
pub mod combo_field;
pub mod confirm;
pub mod copy_button;
pub mod data_view;
pub mod dialog;
pub mod diff;
pub mod field;
pub mod format;
pub mod icon;
pub mod menu;
pub mod meter;
pub mod page_head;
pub mod rows;
pub mod secret_box;
pub mod segmented;
pub mod sort;
pub mod stat;
pub mod table;
pub mod tabs;
pub mod toast;
pub mod when;

use std::sync::atomic::{AtomicU32, Ordering};

/// What a colour says. Never the only carrier of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    #[default]
    Neutral,
    Accent,
    Ok,
    Warn,
    Danger,
}

impl Tone {
    /// The class that sets the tone's custom properties (`base.css` of badges, meters, notes).
    pub fn class(self) -> &'static str {
        match self {
            Self::Neutral => "tone-neutral",
            Self::Accent => "tone-accent",
            Self::Ok => "tone-ok",
            Self::Warn => "tone-warn",
            Self::Danger => "tone-danger",
        }
    }
}

/// Makes an element id for ARIA references, unique in this page's life.
pub fn element_id(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{kind}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
