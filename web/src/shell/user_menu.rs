//! Who is signed in: account, theme, sign out.

use api::Empty;
use api::ops::NoPath;
use api::ops::auth::Logout;
use leptos::prelude::*;

use super::Frame;
use crate::theme::{Choice, Theme};
use kit::api::use_act;
use kit::page::Page;
use ui::avatar::Avatar;
use ui::icon::Icon;
use ui::menu::{Align, MenuItem, MenuLink, Popover};
use ui::segmented::{Segment, Segmented};

/// The choice of theme as a strip.
#[component]
pub(crate) fn ThemeChoice() -> impl IntoView {
    let theme = expect_context::<Theme>();
    let segments = Signal::stored(Choice::ALL.map(|choice| Segment::new(choice.key(), choice.title())).to_vec());
    view! {
        <Segmented
            label="Theme"
            segments
            value=Signal::derive(move || theme.0.get().key().to_owned())
            on_change=Callback::new(move |key: String| theme.0.set(Choice::find(&key)))
        />
    }
}

/// The menu under one's initials.
#[component]
pub(super) fn UserMenu(frame: Frame) -> impl IntoView {
    let open = RwSignal::new(false);
    let session = frame.session;
    let name = move || session.with(|me| me.user.name.to_string()).unwrap_or_default();
    let email = move || session.with(|me| me.user.email.to_string()).unwrap_or_default();
    let sign_out = use_act::<Logout>();
    let leave = Callback::new(move |()| sign_out.run(NoPath {}, Empty {}, move |_| session.signed_out()));
    let label = Signal::derive(move || format!("Account of {}", name()));
    view! {
        <Popover label open align=Align::End class="user-button" test_id="user-menu" trigger=ViewFn::from(move || view! { <Avatar name=name() /> })>
            <div class="user-card">
                <p class="strong truncate">{name}</p>
                <p class="faint small truncate">{email}</p>
            </div>
            <div class="menu-pad"><ThemeChoice /></div>
            <div class="menu">
                <MenuLink icon=Icon::User text="Your account" href=Page::Account.path() open />
                <MenuItem icon=Icon::SignOut text="Sign out" on_press=leave />
            </div>
        </Popover>
    }
}
