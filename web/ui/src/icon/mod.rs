//! Icons: one stroke path each on a 16 × 16 grid, in the colour of the text around them. Decorative; the name is in the text.

use leptos::prelude::*;

/// Every picture of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    ArrowDown,
    ArrowUp,
    Audit,
    Bolt,
    Budget,
    Building,
    Check,
    ChevronRight,
    Clock,
    Close,
    Columns,
    Copy,
    Credential,
    Download,
    Edit,
    Key,
    Ledger,
    Members,
    Menu,
    Model,
    Moon,
    Node,
    Overview,
    Plus,
    Refresh,
    Requests,
    Route,
    Search,
    Settings,
    Shield,
    SignOut,
    Sun,
    System,
    Terminal,
    Trash,
    UpDown,
    Usage,
    User,
    Warning,
    Workspace,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::ArrowDown => "M8 3v9.5M4 8.8l4 4l4-4",
            Self::ArrowUp => "M8 13V3.5M4 7.2l4-4l4 4",
            Self::Audit => "M4 1.8h5.5L12.5 5v9.2H4zM9.3 1.8V5h3.2M6 8h4.5M6 10.8h4.5",
            Self::Bolt => "M9 1.8L3.5 9h4L7 14.2L12.5 7h-4z",
            Self::Budget => "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 8V2M8 8l4.6 3.8",
            Self::Building => "M3.5 14V2.5h6V14M9.5 6h3v8M2 14h12M5.5 5h2M5.5 8h2M5.5 11h2",
            Self::Check => "M3 8.5l3.3 3.3L13 5",
            Self::ChevronRight => "M6 4l4 4l-4 4",
            Self::Clock => "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8V8l2.2 1.5",
            Self::Close => "M4 4l8 8M12 4l-8 8",
            Self::Columns => "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
            Self::Copy => "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
            Self::Credential => "M3.5 7h9v6.5h-9zM5.5 7V5a2.5 2.5 0 0 1 5 0v2M8 9.5v1.5",
            Self::Download => "M8 2.5V10M4.8 7L8 10.2L11.2 7M2.5 13.5h11",
            Self::Edit => "M3 10.5V13h2.5l7-7L10 3.5zM8.8 4.8l2.4 2.4",
            Self::Ledger => {
                "M3 2.5h8.5a1.5 1.5 0 0 1 1.5 1.5v9.5H4.5A1.5 1.5 0 0 1 3 12zM3 12a1.5 1.5 0 0 1 1.5-1.5H13M6 5.5h4.5"
            }
            Self::Key => "M10.5 9a3.5 3.5 0 1 0 0-7a3.5 3.5 0 0 0 0 7zM8 8l-5.5 5.5M4.5 11.5l1.8 1.8",
            Self::Members => {
                "M6 7.5a2.5 2.5 0 1 0 0-5a2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 2.8a2.4 2.4 0 0 1 0 4.5M12 9.8c1.5.5 2.5 1.8 2.5 3.7"
            }
            Self::Menu => "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
            Self::Model => "M8 1.8l5.5 3v6.4l-5.5 3l-5.5-3V4.8zM2.5 4.8L8 8l5.5-3.2M8 8v6.2",
            Self::Moon => "M13.2 9.6a5.6 5.6 0 0 1-6.8-6.8a5.6 5.6 0 1 0 6.8 6.8z",
            Self::Node => "M2.5 2.5h11V7h-11zM2.5 9h11v4.5h-11zM5 4.75h.01M5 11.25h.01M8 4.75h3M8 11.25h3",
            Self::Overview => "M2.5 2.5H7v6H2.5zM9 2.5h4.5V6H9zM9 8h4.5v5.5H9zM2.5 10.5H7v3H2.5z",
            Self::Plus => "M8 3v10M3 8h10",
            Self::Refresh => "M13.2 2.8v3.6H9.6M13.2 6.4A5.4 5.4 0 1 0 13.4 9",
            Self::Requests => "M2.5 4h11M2.5 8h11M2.5 12h7",
            Self::Route => {
                "M3.5 6a1.5 1.5 0 1 0 0-3a1.5 1.5 0 0 0 0 3zM12.5 6a1.5 1.5 0 1 0 0-3a1.5 1.5 0 0 0 0 3zM12.5 13a1.5 1.5 0 1 0 0-3a1.5 1.5 0 0 0 0 3zM5 4.5h6M5 4.5c3.2 0 2.6 7 6 7"
            }
            Self::Search => "M7 11.5a4.5 4.5 0 1 0 0-9a4.5 4.5 0 0 0 0 9zM10.3 10.3l3.2 3.2",
            Self::Settings => {
                "M2 4.5h6M11.5 4.5H14M2 11.5h2.5M8 11.5h6M9.75 6.2a1.75 1.75 0 1 0 0-3.5a1.75 1.75 0 0 0 0 3.5zM6.25 13.2a1.75 1.75 0 1 0 0-3.5a1.75 1.75 0 0 0 0 3.5z"
            }
            Self::Shield => "M8 1.8l5 1.8v4c0 3.2-2 5.4-5 6.6c-3-1.2-5-3.4-5-6.6v-4zM5.8 8l1.6 1.6l3-3.2",
            Self::SignOut => "M6.5 2.5h-4v11h4M10.5 5l3 3l-3 3M13.3 8H6",
            Self::Sun => {
                "M8 10.8a2.8 2.8 0 1 0 0-5.6a2.8 2.8 0 0 0 0 5.6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M12.6 3.4l-.7.7M4.1 11.9l-.7.7"
            }
            Self::System => "M2 3h12v8H2zM5.5 13.5h5M8 11v2.5",
            Self::Terminal => "M2 3h12v10H2zM4.5 6l2 2l-2 2M8 10h3.5",
            Self::Trash => "M2.8 4.5h10.4M6 4.5v-2h4v2M4.2 4.5l.6 9h6.4l.6-9",
            Self::UpDown => "M5 6.2l3-3l3 3M5 9.8l3 3l3-3",
            Self::Usage => "M2.5 13.5h11M4 11V8M8 11V3M12 11V6",
            Self::User => "M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8zM2.5 13.8c.6-2.6 2.7-4 5.5-4s4.9 1.4 5.5 4",
            Self::Warning => "M8 2.2l6.3 11.3H1.7zM8 6.5v3.2M8 11.6h.01",
            Self::Workspace => "M8 2l6 3l-6 3l-6-3zM2 8.2l6 3l6-3M2 11.2l6 3l6-3",
        }
    }
}

/// Draws an icon.
#[component]
pub fn Glyph(icon: Icon) -> impl IntoView {
    view! {
        <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
            <path d=icon.path() />
        </svg>
    }
}

/// Draws the product's mark: a raised gate over water.
#[component]
pub fn Mark() -> impl IntoView {
    view! {
        <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
            <rect class="mark-ground" x="0" y="0" width="24" height="24" rx="6" />
            <path class="mark-gate" d="M6 5v9M18 5v9M6 6.5h12M10 6.5v5.5M14 6.5v5.5M6 12h12" />
            <path class="mark-water" d="M4.5 17.5q1.9-1.8 3.75 0t3.75 0t3.75 0t3.75 0" />
        </svg>
    }
}
