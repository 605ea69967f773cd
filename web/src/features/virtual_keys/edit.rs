//! Name, models and expiry of a key.

use api::Field;
use api::ops::virtual_keys::{UpdateVirtualKey, VirtualKeyChange, VirtualKeyView};
use domain::{DisplayName, ModelPattern};
use leptos::prelude::*;

use super::create::use_models;
use super::expiry;
use super::panel::OneKey;
use kit::api::use_command;
use ui::browser;
use ui::button::{Button, Weight};
use ui::check_list::{CheckList, Item};
use ui::dialog::{DialogBody, DialogFoot};
use ui::field::{FormError, InputKind, SelectField, TextField};
use ui::format::time;
use ui::toast::Toasts;

/// The form.
#[component]
pub(super) fn EditForm(one: OneKey, key: VirtualKeyView) -> impl IntoView {
    let zone = browser::zone();
    let name = RwSignal::new(key.name.to_string());
    let models = RwSignal::new(key.allowed_models.iter().map(ToString::to_string).collect::<Vec<_>>());
    let end = RwSignal::new(if key.expires_at.is_some() { "date".to_owned() } else { String::new() });
    let date = RwSignal::new(
        key.expires_at.map(|at| time::to_input(at, zone).chars().take(10).collect::<String>()).unwrap_or_default(),
    );
    let before = date.get_untracked();
    let update = use_command::<UpdateVirtualKey>();
    let toasts = expect_context::<Toasts>();
    // Patterns that no present model matches stay on the list, or saving would drop them.
    let of_workspace = use_models(one.keys.workspace_id);
    let own = key.allowed_models.clone();
    let items = Signal::derive(move || {
        let mut items = of_workspace.get();
        let unknown = own.iter().filter(|pattern| !items.iter().any(|item| item.value == pattern.as_str()));
        let unknown: Vec<Item> = unknown
            .map(|pattern| Item { value: pattern.to_string(), text: pattern.to_string(), detail: "pattern".to_owned() })
            .collect();
        items.splice(0..0, unknown);
        items
    });
    let version = key.version;
    let old_end = key.expires_at;
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let fail = |field: &str, text: String| update.errors.set(vec![(field.to_owned(), text)], None);
        let name = match DisplayName::parse(&name.get_untracked()) {
            Ok(name) => name,
            Err(error) => return fail("name", format!("A name {error}.")),
        };
        let is_same = end.get_untracked() == "date" && date.get_untracked() == before && old_end.is_some();
        let expires_at = match expiry::read(&end.get_untracked(), &date.get_untracked(), browser::now(), zone) {
            _ if is_same => Field::Absent,
            Ok(Some(at)) => Field::Value(at),
            Ok(None) => Field::Null,
            Err(text) => return fail("expires_at", text),
        };
        let allowed_models = models.get_untracked().iter().filter_map(|name| ModelPattern::parse(name).ok()).collect();
        let body = VirtualKeyChange {
            version: Some(version),
            name: Some(name),
            allowed_models: Some(allowed_models),
            expires_at,
        };
        update.run(one.path(), body, move |key| {
            toasts.done(format!("Saved “{}”.", key.name));
            one.changed(key);
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=name required=true error=update.errors.of("name") />
                <CheckList label="Models" hint="Choose none to allow every model of the workspace." items chosen=models />
                <SelectField label="Expires" value=end choices=Signal::stored(expiry::choices()) error=update.errors.of("expires_at") />
                <Show when=move || end.get() == "date"><TextField label="Date" value=date kind=InputKind::Date /></Show>
                <FormError errors=update.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=Callback::new(move |()| one.act.set(None))>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=update.is_busy>"Save"</Button>
            </DialogFoot>
        </form>
    }
}
