//! Charts over time as plain SVG: stacked bars for counts, lines for latencies, sparklines for tiles.
//!
//! Drawn in a 1000 × 100 box that stretches with the page while strokes keep their width; words are HTML, so they never
//! stretch. Every chart can be read without a mouse (arrow keys move the crosshair) and without sight (a table behind it).

pub mod geometry;

use std::time::Duration;

use leptos::prelude::*;

use crate::format::time::{self, Instant, Zone};
use geometry::{Scale, band_at, bar_rects, line_path, stacked, top_of};

/// What a chart draws its series as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Bars,
    Lines,
}

/// The colour slot of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// One of eight, by rank.
    Rank(usize),
    /// Errors, always red.
    Error,
}

impl Slot {
    pub fn class(self) -> String {
        match self {
            Self::Rank(index) => format!("series-{}", index.min(7) + 1),
            Self::Error => "series-error".to_owned(),
        }
    }
}

/// Values at each point of time; `NAN` where nothing was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub name: String,
    pub slot: Slot,
    pub values: Vec<f64>,
}

/// Everything a chart shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChartData {
    pub times: Vec<Instant>,
    pub step: Duration,
    pub series: Vec<Series>,
    /// The last point is still being counted.
    pub is_open: bool,
}

/// Something that happened on the time axis and may explain what the series do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub at: Instant,
    /// What happened: "ada created route support-chat".
    pub text: String,
    /// Where more about it is.
    pub href: String,
}

impl ChartData {
    fn describe(&self, index: usize, zone: Zone, value: fn(f64) -> String) -> String {
        let at = self.times.get(index).map(|at| time::tick(*at, self.step, zone)).unwrap_or_default();
        let parts = self
            .series
            .iter()
            .map(|series| format!("{} {}", series.name, shown(series.values.get(index).copied(), value)));
        let open = if self.is_open && index + 1 == self.times.len() { " so far" } else { "" };
        format!("{at}{open}: {}", parts.collect::<Vec<_>>().join(", "))
    }
}

/// What the legend says of a series: the last value of a line, the sum of bars.
fn figure_of(series: &Series, shape: Shape) -> f64 {
    let mut known = series.values.iter().copied().filter(|value| !value.is_nan());
    if shape == Shape::Lines { known.next_back().unwrap_or(f64::NAN) } else { known.sum() }
}

fn shown(value: Option<f64>, format: fn(f64) -> String) -> String {
    value.filter(|value| !value.is_nan()).map_or_else(|| "–".to_owned(), format)
}

/// The point under the cursor, shared by all charts of a page.
#[derive(Clone, Copy)]
pub struct Crosshair(RwSignal<Option<f64>>);

impl Crosshair {
    pub fn provide() {
        provide_context(Self(RwSignal::new(None)));
    }
}

/// A chart over time.
#[component]
pub fn TimeChart(
    /// What is shown, with its unit: "Requests per minute".
    #[prop(into)]
    label: String,
    #[prop(into)] data: Signal<ChartData>,
    shape: Shape,
    /// Prints a value on the axis.
    axis: fn(f64) -> String,
    /// Prints a value in full.
    value: fn(f64) -> String,
    zone: Zone,
    #[prop(optional)] tall: bool,
    /// What happened meanwhile, in any order.
    #[prop(optional, into)]
    markers: Signal<Vec<Marker>>,
) -> impl IntoView {
    let crosshair = use_context::<Crosshair>().unwrap_or_else(|| Crosshair(RwSignal::new(None))).0;
    let at = Signal::derive(move || crosshair.get().map(|share| data.with(|data| band_at(share, data.times.len()))));
    let top = Memo::new(move |_| data.with(|data| top_of(data, shape)));
    let has_table = RwSignal::new(false);
    let caption = label.clone();
    view! {
        <figure class="chart" class:chart-tall=tall>
            {legend(data, shape, at, value)}
            <div class="chart-frame">
                <div class="chart-scale" aria-hidden="true">
                    {move || {
                        let scale = top.get();
                        // The ticks lie where they belong; the longest label holds the column open.
                        let labels = geometry::with_equal_decimals(scale.ticks().into_iter().map(axis).collect());
                        let widest = labels.iter().max_by_key(|label| label.len()).cloned().unwrap_or_default();
                        let ticks = scale
                            .ticks()
                            .into_iter()
                            .zip(labels)
                            .map(|(tick, label)| view! { <span class="chart-tick" style:bottom=format!("{:.2}%", scale.share(tick) * 100.0)>{label}</span> })
                            .collect_view();
                        view! { <span class="chart-scale-size">{widest}</span> {ticks} }
                    }}
                </div>
                {plot(label.clone(), data, shape, top, crosshair, at, value, zone, markers)}
                <div class="chart-times" aria-hidden="true">{move || data.with(|data| time_ticks(data, zone))}</div>
                {move || marks_view(&label, &geometry::marks(&data.get(), &markers.get()), zone)}
            </div>
            <details class="chart-table" on:toggle=move |_| has_table.update(|has_table| *has_table = !*has_table)>
                <summary>"Show as table"</summary>
                <Show when=move || has_table.get()>{let caption = caption.clone(); move || data.with(|data| table_of(data, &caption, zone, value))}</Show>
            </details>
        </figure>
    }
}

fn legend(data: Signal<ChartData>, shape: Shape, at: Signal<Option<usize>>, value: fn(f64) -> String) -> AnyView {
    let items = move || {
        data.with(|data| {
            let items = data.series.iter().map(|series| {
                let figure = at.get().map_or_else(
                    || figure_of(series, shape),
                    |index| series.values.get(index).copied().unwrap_or(f64::NAN),
                );
                view! {
                    <li class=series.slot.class()>
                        <span class="chart-key" aria-hidden="true"></span>
                        <span class="truncate">{series.name.clone()}</span>
                        <span class="number strong">{shown(Some(figure), value)}</span>
                    </li>
                }
            });
            items.collect_view()
        })
    };
    view! { <ul class="chart-legend">{items}</ul> }.into_any()
}

#[expect(clippy::too_many_arguments, reason = "the inside of one component, split for length")]
fn plot(
    label: String,
    data: Signal<ChartData>,
    shape: Shape,
    top: Memo<Scale>,
    crosshair: RwSignal<Option<f64>>,
    at: Signal<Option<usize>>,
    value: fn(f64) -> String,
    zone: Zone,
    markers: Signal<Vec<Marker>>,
) -> AnyView {
    let last = move || data.with(|data| data.times.len().saturating_sub(1));
    let share_of = move |index: usize| geometry::share(index, last() + 1);
    let point = move |event: leptos::ev::PointerEvent| {
        let width = event
            .current_target()
            .and_then(|target| wasm_bindgen::JsCast::dyn_into::<web_sys::Element>(target).ok())
            .map_or(0, |target| target.client_width());
        if width > 0 {
            crosshair.set(Some((f64::from(event.offset_x()) / f64::from(width)).clamp(0.0, 1.0)));
        }
    };
    let on_key = move |event: leptos::ev::KeyboardEvent| {
        let index = at.get_untracked().unwrap_or_else(last);
        let next = match event.key().as_str() {
            "ArrowLeft" => index.saturating_sub(1),
            "ArrowRight" => (index + 1).min(last()),
            "Home" => 0,
            "End" => last(),
            _ => return,
        };
        event.prevent_default();
        crosshair.set(Some(share_of(next)));
    };
    view! {
        <div
            class="chart-plot"
            role="slider"
            tabindex="0"
            aria-label=label
            aria-orientation="horizontal"
            aria-valuemin="0"
            aria-valuemax=move || last().to_string()
            aria-valuenow=move || at.get().unwrap_or_else(last).to_string()
            aria-valuetext=move || data.with(|data| data.describe(at.get().unwrap_or_else(last), zone, value))
            on:pointermove=point
            on:pointerleave=move |_| crosshair.set(None)
            on:blur=move |_| crosshair.set(None)
            on:keydown=on_key
        >
            <svg class="chart-drawing" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">
                {move || {
                    let scale = top.get();
                    scale.ticks().into_iter().map(|tick| view! { <line class="chart-grid" x1="0" x2="1000" y1=scale.y(tick) y2=scale.y(tick) /> }).collect_view()
                }}
                {move || {
                    let marks = geometry::marks(&data.get(), &markers.get());
                    marks.into_iter().map(|mark| view! { <line class="chart-mark-line" x1=mark.x x2=mark.x y1="0" y2="100" /> }).collect_view()
                }}
                {move || data.with(|data| drawing(data, shape, top.get()))}
            </svg>
            {move || at.get().map(|index| tooltip(&data.get(), index, share_of(index), zone, value))}
        </div>
    }
    .into_any()
}

fn drawing(data: &ChartData, shape: Shape, scale: Scale) -> AnyView {
    match shape {
        Shape::Bars => {
            let groups = stacked(data).into_iter().zip(&data.series).map(|(bounds, series)| {
                let last = data.is_open.then(|| geometry::left_of_last(bounds.len()));
                let rects = bar_rects(&bounds, scale).into_iter().map(|(x, y, width, height)| {
                    let is_open = last.is_some_and(|last| x > last);
                    view! { <rect class:chart-bar-open=is_open x=x y=y width=width height=height /> }
                });
                view! { <g class=format!("chart-bars {}", series.slot.class())>{rects.collect_view()}</g> }
            });
            groups.collect_view().into_any()
        }
        Shape::Lines => {
            let paths = data.series.iter().map(|series| {
                view! { <g class=series.slot.class()><path class="chart-line" d=line_path(&series.values, scale) /></g> }
            });
            paths.collect_view().into_any()
        }
    }
}

fn tooltip(data: &ChartData, index: usize, share: f64, zone: Zone, value: fn(f64) -> String) -> AnyView {
    let at = data.times.get(index).map(|at| time::short(*at, zone)).unwrap_or_default();
    let is_open = data.is_open && index + 1 == data.times.len();
    let at = format!("{at} {}{}", zone.name(), if is_open { ", so far" } else { "" });
    let lines = data.series.iter().map(|series| {
        view! {
            <li class=series.slot.class()>
                <span class="chart-key"></span>
                <span class="truncate">{series.name.clone()}</span>
                <span class="number strong push">{shown(series.values.get(index).copied(), value)}</span>
            </li>
        }
    });
    view! {
        <span class="chart-cross" style:left=format!("{:.3}%", share * 100.0) aria-hidden="true"></span>
        <div class="chart-tip" class:chart-tip-left={share > 0.6} style:left=format!("{:.3}%", share * 100.0) aria-hidden="true">
            <p class="faint small">{at}</p>
            <ul>{lines.collect_view()}</ul>
        </div>
    }
    .into_any()
}

/// The marks under the time axis: links, so that they work without a mouse; several in one place are one.
fn marks_view(label: &str, marks: &[geometry::Mark], zone: Zone) -> Option<AnyView> {
    let links = marks.iter().map(|mark| {
        let first = mark.markers.first()?;
        let text = match mark.markers.len() {
            1 => format!("{}, {}", first.text, time::short(first.at, zone)),
            count => format!("{count} changes from {}: {}", time::short(first.at, zone), mark.texts()),
        };
        let place = format!("{:.2}%", mark.x / 10.0);
        let title = text.clone();
        let count = (mark.markers.len() > 1).then(|| mark.markers.len().to_string());
        Some(view! {
            <li class="chart-mark" style:left=place>
                <a href=first.href.clone() title=title><span aria-hidden="true">{count}</span><span class="visually-hidden">{text}</span></a>
            </li>
        })
    });
    (!marks.is_empty()).then(|| view! { <ul class="chart-marks" aria-label=format!("Changes of policy during {label}")>{links.collect_view()}</ul> }.into_any())
}

fn time_ticks(data: &ChartData, zone: Zone) -> AnyView {
    let count = data.times.len();
    let ticks = geometry::time_ticks(&data.times, data.step, zone).into_iter().filter_map(|index| {
        let (at, share) = (data.times.get(index)?, geometry::share(index, count));
        Some(view! { <span class="chart-time" class:chart-time-last={share > 0.92} style:left=format!("{:.2}%", share * 100.0)>{time::tick(*at, data.step, zone)}</span> })
    });
    ticks.collect_view().into_any()
}

fn table_of(data: &ChartData, caption: &str, zone: Zone, value: fn(f64) -> String) -> AnyView {
    let heads = data
        .series
        .iter()
        .map(|series| view! { <th scope="col" class="cell-number">{series.name.clone()}</th> })
        .collect_view();
    let rows = data.times.iter().enumerate().rev().map(|(index, at)| {
        let cells = data
            .series
            .iter()
            .map(|series| view! { <td class="cell-number">{shown(series.values.get(index).copied(), value)}</td> })
            .collect_view();
        view! { <tr><th scope="row">{time::short(*at, zone)}</th>{cells}</tr> }
    });
    view! {
        <div class="table-scroll chart-table-scroll" role="region" aria-label=caption.to_owned() tabindex="0">
            <table class="table">
                <caption class="visually-hidden">{caption.to_owned()}</caption>
                <thead><tr><th scope="col">"Time"</th>{heads}</tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// A line of a few dozen points without axes; the figure beside it says the value.
#[component]
pub fn Sparkline(
    #[prop(into)] values: Signal<Vec<f64>>,
    /// The last point is still being counted.
    #[prop(into)]
    is_open: Signal<bool>,
    ink: Slot,
) -> impl IntoView {
    let drawing = move || {
        let spark = geometry::spark(&values.get(), is_open.get());
        let bars =
            spark.bars.into_iter().map(|(x, y, width, height)| view! { <rect x=x y=y width=width height=height /> });
        view! {
            <path class="chart-area" d=spark.area />
            <path class="chart-line" d=spark.line />
            <g class="chart-bars chart-bar-open">{bars.collect_view()}</g>
        }
    };
    view! {
        <svg class=format!("sparkline {}", ink.class()) viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">{drawing}</svg>
    }
}
