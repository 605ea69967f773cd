//! The console's own primitives: look, keyboard and ARIA in one place, styled by roles only.
//!
//! Knows no API and no entity. Invariant: a primitive that can be pressed, typed into or opened has an accessible name.

pub(crate) mod avatar;
pub(crate) mod badge;
pub(crate) mod button;
pub(crate) mod chart;
pub(crate) mod check_list;
pub(crate) mod code_block;
pub(crate) mod copy_button;
pub(crate) mod data_view;
pub(crate) mod dialog;
pub(crate) mod diff;
pub(crate) mod field;
pub(crate) mod icon;
pub(crate) mod menu;
pub(crate) mod meter;
pub(crate) mod page_head;
pub(crate) mod secret_box;
pub(crate) mod segmented;
pub(crate) mod stat;
pub(crate) mod table;
pub(crate) mod tabs;
pub(crate) mod toast;
pub(crate) mod when;

use std::sync::atomic::{AtomicU32, Ordering};

/// What a colour says. Never the only carrier of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Neutral,
    Accent,
    Ok,
    Warn,
    Danger,
}

impl Tone {
    /// The class that sets the tone's custom properties (`base.css` of badges, meters, notes).
    pub(crate) fn class(self) -> &'static str {
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
pub(crate) fn element_id(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{kind}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
