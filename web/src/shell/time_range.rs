//! The global time range: presets, or two instants. It lives in the address.

use leptos::prelude::*;

use super::Frame;
use model::range::{PRESETS, TimeRange};
use ui::browser;
use ui::button::{Button, Size, Weight};
use ui::field::{InputKind, TextField};
use ui::format::time;
use ui::icon::{Glyph, Icon};
use ui::menu::{Align, MenuItem, Popover};

/// The picker.
#[component]
pub(super) fn TimeRangePicker(frame: Frame) -> impl IntoView {
    let zone = browser::zone();
    let range = frame.nav.range();
    let open = RwSignal::new(false);
    let label = Signal::derive(move || format!("Time range, times in {}", zone.name()));
    let trigger = ViewFn::from(move || {
        view! {
            <Glyph icon=Icon::Clock />
            <span class="wide-only">{move || range.get().label(zone)}</span>
        }
    });
    view! {
        <Popover label open align=Align::End test_id="time-range" trigger>
            <div class="range-panel">
                <div class="menu">
                    {PRESETS
                        .iter()
                        .enumerate()
                        .map(|(index, preset)| {
                            let checked = Signal::derive(move || range.get() == TimeRange::Last(index));
                            let choose = Callback::new(move |()| {
                                open.set(false);
                                frame.nav.set_range(TimeRange::Last(index));
                            });
                            view! { <MenuItem text=preset.1 checked on_press=choose /> }
                        })
                        .collect_view()}
                </div>
                <Absolute frame open />
            </div>
        </Popover>
    }
}

#[component]
fn Absolute(frame: Frame, open: RwSignal<bool>) -> impl IntoView {
    let zone = browser::zone();
    let (from, to) = frame.nav.range().get_untracked().bounds(browser::now());
    let (from, to) = (RwSignal::new(time::to_input(from, zone)), RwSignal::new(time::to_input(to, zone)));
    let error = RwSignal::new(None::<String>);
    let apply = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match (time::from_input(&from.get_untracked(), zone), time::from_input(&to.get_untracked(), zone)) {
            (Some(from), Some(to)) if from < to => {
                open.set(false);
                frame.nav.set_range(TimeRange::Between(from, to));
            }
            _ => error.set(Some("Choose an end after the beginning.".to_owned())),
        }
    };
    view! {
        <form class="range-form" on:submit=apply>
            <TextField label="From" value=from kind=InputKind::DateTime />
            <TextField label="To" value=to kind=InputKind::DateTime error=error.into() />
            <div class="row-between">
                <span class="faint small">{format!("Times in {}", zone.name())}</span>
                <Button submits=true size=Size::Small weight=Weight::Primary>"Apply"</Button>
            </div>
        </form>
    }
}
