//! A new secret for a key, with an overlap in which both work.

use api::ops::virtual_keys::{RotateVirtualKey, Rotation, VirtualKeyView};
use kit::api::use_command;
use kit::rotation;
use leptos::prelude::*;

use super::panel::OneKey;

/// The form.
pub(super) fn form(one: OneKey, key: &VirtualKeyView) -> AnyView {
    let rotate = use_command::<RotateVirtualKey>();
    let on_rotate = Callback::new(move |overlap_secs| {
        rotate.run(one.path(), Rotation { overlap_secs }, move |issued| {
            one.keys.open(None);
            one.keys.list.refetch();
            one.keys.issued.set(Some(issued));
        });
    });
    let text = format!("“{}” gets a new secret, shown once. Name, environment, models and history stay.", key.name);
    let on_cancel = Callback::new(move |()| one.act.set(None));
    view! { <rotation::RotateForm text errors=rotate.errors busy=rotate.is_busy on_rotate on_cancel /> }.into_any()
}
