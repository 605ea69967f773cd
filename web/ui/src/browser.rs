//! The few things only a browser can do: time, storage, clipboard, downloads, timers. The rest of the console is plain Rust.
//!
//! Nothing here is reactive and nothing fails loudly: a browser without storage or clipboard makes a poorer console, not a
//! broken one.

use std::time::Duration;

use domain::time::Timestamp;
use leptos::prelude::{
    document, request_animation_frame, request_animation_frame_with_handle, set_interval_with_handle, set_timeout,
    window,
};
use wasm_bindgen::{JsCast, JsValue};

use crate::format::time::Zone;

/// Reads the wall clock (millisecond precision).
pub fn now() -> Timestamp {
    // Milliseconds since 1970 fit 2^53 until the year 287396.
    #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds, far below 2^53")]
    let millis = js_sys::Date::now() as i64;
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

/// Reads the browser's time zone as of now.
pub fn zone() -> Zone {
    #[expect(clippy::cast_possible_truncation, reason = "at most ±840 minutes")]
    let behind = js_sys::Date::new_0().get_timezone_offset() as i32;
    Zone { offset_minutes: -behind }
}

/// Reads the IANA name of the browser's time zone, `Europe/Berlin`; UTC where the browser does not say.
pub fn zone_id() -> String {
    let options = js_sys::Intl::DateTimeFormat::default().resolved_options();
    let name = js_sys::Reflect::get(&options, &JsValue::from_str("timeZone")).ok().and_then(|name| name.as_string());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "UTC".to_owned())
}

/// Reads a remembered choice.
pub fn remembered(name: &str) -> Option<String> {
    window().local_storage().ok().flatten()?.get_item(&format!("headgate.{name}")).ok().flatten()
}

/// Remembers a choice on this machine. Never anything secret.
pub fn remember(name: &str, value: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        // A full or forbidden storage only means the choice is asked again.
        let _ = storage.set_item(&format!("headgate.{name}"), value);
    }
}

/// Forgets a remembered choice.
pub fn forget(name: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        // As above.
        let _ = storage.remove_item(&format!("headgate.{name}"));
    }
}

/// Puts the focus on the first field that is marked as wrong, once that is drawn: it may be out of view.
pub fn focus_wrong_field() {
    request_animation_frame(|| {
        // The form on top is the last one in the document; a valid selector cannot fail.
        let wrong = document().query_selector_all("[aria-invalid=true]").ok();
        let first = wrong.and_then(|all| {
            let of = |at| all.item(at)?.dyn_into::<web_sys::HtmlElement>().ok();
            let form = |it: &web_sys::HtmlElement| it.closest("form").ok().flatten();
            let last = form(&of(all.length().checked_sub(1)?)?);
            (0..all.length()).filter_map(of).find(|it| form(it) == last)
        });
        if let Some(field) = first {
            // A field that cannot be focused is only not led to.
            let _ = field.focus();
        }
    });
}

/// Sets or removes an attribute of the root element, where the tokens look for theme and density.
pub fn set_root_attribute(name: &str, value: Option<&str>) {
    if let Some(root) = document().document_element() {
        // A valid attribute name cannot fail.
        let _ = match value {
            Some(value) => root.set_attribute(name, value),
            None => root.remove_attribute(name),
        };
    }
}

/// Copies text to the clipboard and says whether that could be done; the outcome of the newer way is not waited for.
pub fn copy(text: &str) -> bool {
    let navigator = window().navigator();
    // Only pages that come over https or from this machine have the newer way.
    let has_clipboard = js_sys::Reflect::get(&navigator, &JsValue::from_str("clipboard"));
    if has_clipboard.is_ok_and(|clipboard| clipboard.is_object()) {
        // The promise settles on its own; a refusal leaves the clipboard as it was.
        let _ = navigator.clipboard().write_text(text);
        return true;
    }
    copy_selection(text).unwrap_or(false)
}

/// The older way: what is selected in the document is copied, so the text stands in it for a moment.
fn copy_selection(text: &str) -> Result<bool, JsValue> {
    let document: web_sys::HtmlDocument = document().unchecked_into();
    let before = document.active_element().and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
    // Outside of a modal dialog nothing can be selected.
    let dialogs = document.query_selector_all("dialog:modal")?;
    let top = dialogs.length().checked_sub(1).and_then(|last| dialogs.item(last));
    let Some(place) = top.or_else(|| document.body().map(Into::into)) else { return Ok(false) };
    let area: web_sys::HtmlTextAreaElement = document.create_element("textarea")?.unchecked_into();
    area.set_value(text);
    area.set_class_name("visually-hidden");
    place.append_child(&area)?;
    area.select();
    let done = document.exec_command("copy");
    area.remove();
    if let Some(before) = before {
        // It had the focus a moment ago.
        let _ = before.focus();
    }
    done
}

/// Offers text as a file.
pub fn download(name: &str, mime: &str, text: &str) {
    let parts = js_sys::Array::of1(&JsValue::from_str(text));
    let options = web_sys::BlobPropertyBag::new();
    options.set_type(mime);
    let url = web_sys::Blob::new_with_str_sequence_and_options(&parts, &options)
        .and_then(|blob| web_sys::Url::create_object_url_with_blob(&blob));
    let (Ok(url), Ok(element)) = (url, document().create_element("a")) else { return };
    if let Ok(link) = element.dyn_into::<web_sys::HtmlAnchorElement>() {
        link.set_href(&url);
        link.set_download(name);
        link.click();
    }
    set_timeout(
        move || {
            // Revoking an object URL that is gone is harmless.
            let _ = web_sys::Url::revoke_object_url(&url);
        },
        Duration::from_secs(30),
    );
}

/// Calls `act` before the next frame is drawn, unless the current reactive owner is gone or runs anew by then: what it would read may
/// be gone as well.
pub fn at_next_frame(act: impl FnOnce() + 'static) {
    if let Ok(frame) = request_animation_frame_with_handle(act) {
        leptos::prelude::on_cleanup(move || frame.cancel());
    }
}

/// Calls `tick` until the current reactive owner is gone.
pub fn every(period: Duration, tick: impl Fn() + 'static) {
    if let Ok(handle) = set_interval_with_handle(tick, period) {
        leptos::prelude::on_cleanup(move || handle.clear());
    }
}

/// Tells whether the page is in front; background tabs do not poll.
pub fn is_visible() -> bool {
    !document().hidden()
}

/// The origin under which the console is served.
pub fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// Loads the page again, as its address is now.
pub fn reload() {
    // A browser that will not leaves the page as it is.
    let _ = window().location().reload();
}

/// Moves the focus to an element by id.
pub fn focus(id: &str) {
    if let Some(element) =
        document().get_element_by_id(id).and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok())
    {
        // An element that cannot take focus leaves it where it was.
        let _ = element.focus();
    }
}

/// Says whether a key press is meant for a form control rather than for a shortcut.
pub fn is_typing(event: &web_sys::KeyboardEvent) -> bool {
    let tag =
        event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok()).map(|element| element.tag_name());
    matches!(tag.as_deref(), Some("INPUT" | "TEXTAREA" | "SELECT"))
        || event.alt_key()
        || event.ctrl_key()
        || event.meta_key()
}

/// The height of the view in pixels.
pub fn view_height() -> f64 {
    window().inner_height().ok().and_then(|height| height.as_f64()).unwrap_or(900.0)
}
