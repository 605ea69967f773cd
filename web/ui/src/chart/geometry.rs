//! Where things lie in a chart's 1000 × 100 box. Pure arithmetic, tested natively; `y` grows downward.

use std::fmt::Write as _;
use std::time::Duration;

use crate::chart::{ChartData, Marker, Shape};
use crate::format::number::as_f64;
use crate::format::time::{Instant, Zone};

/// The vertical scale: zero at the bottom, a round number at the top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    top: f64,
    step: f64,
}

impl Scale {
    /// A scale whose top is the first round number at or above `max`, in two to five steps.
    pub fn up_to(max: f64) -> Self {
        if !max.is_finite() || max <= 0.0 {
            return Self { top: 1.0, step: 1.0 };
        }
        let rough = max / 3.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(power * 10.0);
        Self { top: (max / step).ceil() * step, step }
    }

    /// The same for things that are counted: no half requests on the axis.
    pub fn of_counts(max: f64) -> Self {
        let scale = Self::up_to(max);
        if scale.step.fract() == 0.0 {
            return scale;
        }
        // Below one by one, and between two and five by two.
        let step = if scale.step < 1.0 { 1.0 } else { 2.0 };
        Self { top: (max / step).ceil().max(1.0) * step, step }
    }

    pub fn ticks(self) -> Vec<f64> {
        (0..=6_u32).map(|index| f64::from(index) * self.step).take_while(|tick| *tick <= self.top * 1.001).collect()
    }

    /// How far up a value lies, 0 to 1.
    pub fn share(self, value: f64) -> f64 {
        (value / self.top).clamp(0.0, 1.0)
    }

    pub fn y(self, value: f64) -> f64 {
        round(100.0 - self.share(value) * 100.0)
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn count(value: usize) -> f64 {
    as_f64(u64::try_from(value).unwrap_or(u64::MAX))
}

/// Where point `index` of `len` lies, 0 to 1: in the middle of its band, so that bars and lines of one page stand in line.
pub fn share(index: usize, len: usize) -> f64 {
    (count(index) + 0.5) / count(len.max(1))
}

/// The point whose band holds a place between 0 and 1.
pub fn band_at(place: f64, len: usize) -> usize {
    // Counted up instead of cast: `len` is the number of points on a screen.
    (0..len).find(|index| (count(*index) + 1.0) / count(len) >= place).unwrap_or(len.saturating_sub(1))
}

/// Lower and upper bound of every series at every point, stacked in order.
pub fn stacked(data: &ChartData) -> Vec<Vec<(f64, f64)>> {
    let mut floor = vec![0.0; data.times.len()];
    let stack = |series: &crate::chart::Series| {
        let bounds = floor.iter_mut().enumerate().map(|(index, floor)| {
            let lower = *floor;
            let value = series.values.get(index).copied().filter(|value| !value.is_nan()).unwrap_or(0.0);
            *floor += value;
            (lower, *floor)
        });
        bounds.collect()
    };
    data.series.iter().map(stack).collect()
}

/// The scale that fits the data as drawn.
pub fn top_of(data: &ChartData, shape: Shape) -> Scale {
    let max = match shape {
        Shape::Lines => data
            .series
            .iter()
            .flat_map(|series| series.values.iter().copied())
            .filter(|value| !value.is_nan())
            .fold(0.0, f64::max),
        Shape::Bars => stacked(data).last().into_iter().flatten().map(|bound| bound.1).fold(0.0, f64::max),
    };
    let is_counted = data.series.iter().flat_map(|series| &series.values).all(|value| value.fract() == 0.0);
    if is_counted { Scale::of_counts(max) } else { Scale::up_to(max) }
}

/// A line through the known values; it breaks where there are none, and a lone point is a short dash.
pub fn line_path(values: &[f64], scale: Scale) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, value) in values.iter().enumerate() {
        if value.is_nan() {
            is_drawing = false;
            continue;
        }
        let x = round(share(index, values.len()) * 1000.0);
        // Writing to a string does not fail.
        let _ = write!(path, "{}{x} {}", if is_drawing { 'L' } else { 'M' }, scale.y(*value));
        let next_is_known = values.get(index + 1).is_some_and(|next| !next.is_nan());
        if !is_drawing && !next_is_known {
            // As above.
            let _ = write!(path, "l4 0");
        }
        is_drawing = true;
    }
    path
}

/// The closed outline between the lower and upper bounds of the first of `len` points.
pub fn area_path(bounds: &[(f64, f64)], len: usize, scale: Scale) -> String {
    let x = |index: usize| round(share(index, len) * 1000.0);
    let mut path = String::new();
    for (index, bound) in bounds.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(path, "{}{} {}", if index == 0 { 'M' } else { 'L' }, x(index), scale.y(bound.1));
    }
    for (index, bound) in bounds.iter().enumerate().rev() {
        // As above.
        let _ = write!(path, "L{} {}", x(index), scale.y(bound.0));
    }
    if !path.is_empty() {
        path.push('Z');
    }
    path
}

/// `(x, y, width, height)` of the bars that have a height, each in the middle of its band.
pub fn bar_rects(bounds: &[(f64, f64)], scale: Scale) -> Vec<(f64, f64, f64, f64)> {
    let width = (1000.0 / count(bounds.len().max(1)) * 0.72).min(48.0);
    let rect = |(index, bound): (usize, &(f64, f64))| {
        let (top, bottom) = (scale.y(bound.1), scale.y(bound.0));
        let left = share(index, bounds.len()) * 1000.0 - width / 2.0;
        (bottom > top).then(|| (round(left), top, round(width), round(bottom - top)))
    };
    bounds.iter().enumerate().filter_map(rect).collect()
}

/// What a sparkline draws.
#[derive(Debug, Clone, PartialEq)]
pub struct Spark {
    pub line: String,
    pub area: String,
    /// Points that a line cannot show: those without a neighbour, and the one that is still being counted.
    pub bars: Vec<(f64, f64, f64, f64)>,
}

/// Draws a sparkline; `is_open` says that the last point is still being counted, which would look like a fall.
pub fn spark(values: &[f64], is_open: bool) -> Spark {
    let scale = Scale::up_to(values.iter().copied().filter(|value| !value.is_nan()).fold(0.0, f64::max));
    let (len, n_closed) = (values.len(), values.len() - usize::from(is_open && !values.is_empty()));
    let is_closed = |index: usize| index < n_closed && values.get(index).is_some_and(|value| !value.is_nan());
    let has_neighbour = |index: usize| (index > 0 && is_closed(index - 1)) || is_closed(index + 1);
    let on_line = |index: usize| is_closed(index) && has_neighbour(index);
    let pick = |wanted: bool, missing: f64| {
        let value = move |(index, value): (usize, &f64)| if on_line(index) == wanted { *value } else { missing };
        values.iter().enumerate().map(value)
    };
    let bounds: Vec<(f64, f64)> = values.iter().take(n_closed).map(|value| (0.0, *value)).collect();
    // Without every value there is nothing to fill.
    let is_whole = n_closed > 1 && (0..n_closed).all(is_closed);
    Spark {
        line: line_path(&pick(true, f64::NAN).collect::<Vec<_>>(), scale),
        area: if is_whole { area_path(&bounds, len, scale) } else { String::new() },
        bars: bar_rects(&pick(false, 0.0).map(|value| (0.0, value)).collect::<Vec<_>>(), scale),
    }
}

/// The left edge of the last point's band, in the box.
pub fn left_of_last(len: usize) -> f64 {
    count(len.saturating_sub(1)) / count(len.max(1)) * 1000.0
}

/// Where something happened in the box, and what.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub x: f64,
    pub markers: Vec<Marker>,
}

impl Mark {
    /// What happened, at most three of it in words.
    pub fn texts(&self) -> String {
        let mut texts: Vec<String> = self.markers.iter().take(3).map(|marker| marker.text.clone()).collect();
        if self.markers.len() > 3 {
            texts.push(format!("{} more", self.markers.len() - 3));
        }
        texts.join("; ")
    }
}

/// Places markers on the time axis; those that would touch are one. Markers outside the axis are left out.
pub fn marks(data: &ChartData, markers: &[Marker]) -> Vec<Mark> {
    /// Closer than this, two marks cannot be told apart or pressed.
    const APART: f64 = 45.0;
    let (Some(first), Some(last)) = (data.times.first(), data.times.last()) else { return Vec::new() };
    let end = last.plus(data.step);
    let length = end.since(*first).as_secs_f64();
    let mut inside: Vec<&Marker> = markers.iter().filter(|marker| marker.at >= *first && marker.at < end).collect();
    crate::sort::by(&mut inside, |left, right| left.at.cmp(&right.at));
    let mut marks: Vec<Mark> = Vec::new();
    for marker in inside {
        let x = round(marker.at.since(*first).as_secs_f64() / length * 1000.0);
        match marks.last_mut().filter(|mark| x - mark.x < APART) {
            Some(mark) => mark.markers.push(marker.clone()),
            None => marks.push(Mark { x, markers: vec![marker.clone()] }),
        }
    }
    marks
}

/// The points that get a label under a time axis: at most about six, at round times of the zone.
pub fn time_ticks(times: &[Instant], step: Duration, zone: Zone) -> Vec<usize> {
    /// Round numbers of minutes, hours and days.
    const ROUND: [[u64; 7]; 3] = [[1, 2, 5, 10, 15, 20, 30], [1, 2, 3, 4, 6, 12, 24], [1, 2, 3, 5, 7, 10, 15]];
    let (secs, wanted) = (step.as_secs().max(1), u64::try_from(times.len().div_ceil(6)).unwrap_or(1));
    let kind = match secs {
        0..3_600 => ROUND[0],
        3_600..86_400 => ROUND[1],
        _ => ROUND[2],
    };
    let every = kind.into_iter().find(|round| *round >= wanted).unwrap_or(wanted);
    let place = |at: &Instant| {
        let local = at.as_secs() + i64::from(zone.offset_minutes) * 60;
        u64::try_from(local).unwrap_or(0) / secs
    };
    let is_round = |(_, at): &(usize, &Instant)| place(at).is_multiple_of(every);
    times.iter().enumerate().filter(is_round).map(|(index, _)| index).collect()
}

/// Gives the labels of one axis the same number of decimals: `$0.5` beside `$0.75` reads `$0.50`.
pub fn with_equal_decimals(labels: Vec<String>) -> Vec<String> {
    let decimals = |label: &str| {
        let after = label.split_once('.').map(|(_, after)| after).unwrap_or_default();
        after.bytes().take_while(u8::is_ascii_digit).count()
    };
    let most = labels.iter().map(|label| decimals(label)).max().unwrap_or(0);
    let unit = |label: &str| label.trim_start_matches(|letter: char| !letter.is_ascii_alphabetic()).to_owned();
    let is_of_one_unit =
        labels.iter().all(|label| unit(label) == labels.last().map(|last| unit(last)).unwrap_or_default());
    if most == 0 || !is_of_one_unit {
        return labels;
    }
    let pad = |label: String| {
        // Nothing is nothing with any number of decimals.
        if !label.contains(|letter: char| matches!(letter, '1'..='9')) {
            return label;
        }
        let missing = most - decimals(&label);
        let end = label.rfind(|letter: char| letter.is_ascii_digit()).map_or(label.len(), |at| at + 1);
        let (number, rest) = label.split_at(end);
        let point = if missing == most { "." } else { "" };
        if missing == 0 { label } else { format!("{number}{point}{}{rest}", "0".repeat(missing)) }
    };
    labels.into_iter().map(pad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Series, Slot};

    fn data(values: &[&[f64]]) -> ChartData {
        let series = values.iter().enumerate().map(|(index, values)| Series {
            name: index.to_string(),
            slot: Slot::Rank(index),
            values: values.to_vec(),
        });
        ChartData {
            times: vec![crate::format::time::Instant::default(); values[0].len()],
            step: std::time::Duration::from_secs(60),
            series: series.collect(),
            is_open: false,
        }
    }

    #[test]
    fn marks_that_would_touch_are_one() {
        let at = |secs: u64| crate::format::time::Instant::default().plus(std::time::Duration::from_secs(secs));
        let chart = ChartData { times: (0..10).map(|index| at(index * 60)).collect(), ..data(&[&[0.0; 10]]) };
        let marker = |secs, text: &str| Marker { at: at(secs), text: text.to_owned(), href: String::new() };
        let placed = marks(
            &chart,
            &[marker(302, "c"), marker(60, "a"), marker(300, "b"), marker(599, "d"), marker(600, "late")],
        );
        let told: Vec<(f64, String)> = placed.iter().map(|mark| (mark.x, mark.texts())).collect();
        assert_eq!(told, [(100.0, "a".to_owned()), (500.0, "b; c".to_owned()), (998.33, "d".to_owned())]);
    }

    #[test]
    fn times_are_labelled_at_round_ones() {
        let at = |secs: u64| Instant::default().plus(Duration::from_secs(secs));
        let times =
            |first: u64, step: u64, count: u64| (0..count).map(|index| at(first + index * step)).collect::<Vec<_>>();
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
        // From 00:07 on, every ten minutes.
        assert_eq!(time_ticks(&times(420, 60, 60), minute, Zone::default()), [3, 13, 23, 33, 43, 53]);
        // From 15:00 on, midnight of the zone is a label.
        let berlin = Zone { offset_minutes: 60 };
        assert_eq!(time_ticks(&times(15 * 3_600, 3_600, 24), hour, berlin), [0, 4, 8, 12, 16, 20]);
    }

    #[test]
    fn labels_of_an_axis_have_equal_decimals() {
        let shown = |labels: &[&str]| with_equal_decimals(labels.iter().map(|label| (*label).to_owned()).collect());
        assert_eq!(shown(&["$0", "$0.25", "$0.5"]), ["$0", "$0.25", "$0.50"]);
        assert_eq!(shown(&["0", "1,000", "2,000"]), ["0", "1,000", "2,000"]);
        assert_eq!(shown(&["0 ms", "500 ms", "1.5 s"]), ["0 ms", "500 ms", "1.5 s"]);
        assert_eq!(shown(&["1 s", "1.5 s"]), ["1.0 s", "1.5 s"]);
    }

    #[test]
    fn the_top_is_round_and_holds_the_largest() {
        for max in [0.0, 0.003, 0.9, 1.0, 7.0, 83.0, 1_234.0, 9.99e8] {
            let scale = Scale::up_to(max);
            assert!(scale.top >= max, "{max}");
            assert!((2..=6).contains(&scale.ticks().len()), "{max}: {:?}", scale.ticks());
        }
        assert_eq!(Scale::up_to(83.0).ticks(), [0.0, 50.0, 100.0]);
        assert_eq!(Scale::of_counts(2.0).ticks(), [0.0, 1.0, 2.0]);
        assert_eq!(Scale::of_counts(0.0).ticks(), [0.0, 1.0]);
        // Nobody makes two and a half requests.
        assert_eq!(Scale::of_counts(7.0).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert!(
            (0..2_000_u32).all(|max| Scale::of_counts(f64::from(max)).ticks().iter().all(|tick| tick.fract() == 0.0))
        );
    }

    #[test]
    fn stacks_add_up_and_gaps_count_as_nothing() {
        assert_eq!(
            stacked(&data(&[&[1.0, 2.0], &[3.0, f64::NAN]])),
            [[(0.0, 1.0), (0.0, 2.0)], [(1.0, 4.0), (2.0, 2.0)]]
        );
        assert_eq!(top_of(&data(&[&[1.0, 2.5], &[3.0, f64::NAN]]), Shape::Bars), Scale::up_to(4.0));
        assert_eq!(top_of(&data(&[&[1.0, 2.0], &[3.0, f64::NAN]]), Shape::Lines), Scale::up_to(3.0));
    }

    #[test]
    fn lines_break_at_gaps() {
        let scale = Scale { top: 10.0, step: 5.0 };
        assert_eq!(line_path(&[0.0, 5.0, f64::NAN, 10.0], scale), "M125 100L375 50M875 0l4 0");
        assert_eq!(area_path(&[(0.0, 10.0), (0.0, 5.0)], 2, scale), "M250 0L750 50L750 100L250 100Z");
        assert_eq!(area_path(&[], 0, scale), "");
    }

    #[test]
    fn what_a_line_cannot_show_is_a_bar() {
        let only = spark(&[4.0], false);
        assert_eq!((only.line.as_str(), only.area.as_str(), only.bars.len()), ("", "", 1));
        // The last point of three is still being counted.
        let open = spark(&[2.0, 4.0, 1.0], true);
        assert_eq!(open.line, "M166.67 50L500 0");
        assert!(open.area.starts_with("M166.67 50L500 0L500 100"), "{}", open.area);
        assert_eq!(open.bars.len(), 1);
        let gaps = spark(&[f64::NAN, 4.0, f64::NAN, 3.0, 3.0], false);
        assert_eq!((gaps.bars.len(), gaps.area.as_str()), (1, ""));
        assert_eq!(spark(&[], true), Spark { line: String::new(), area: String::new(), bars: Vec::new() });
    }

    #[test]
    fn bars_stay_inside_the_box() {
        let scale = Scale { top: 10.0, step: 5.0 };
        let rects = bar_rects(&[(0.0, 10.0), (0.0, 0.0), (0.0, 5.0), (0.0, 5.0)], scale);
        assert_eq!(rects, [(101.0, 0.0, 48.0, 100.0), (601.0, 50.0, 48.0, 50.0), (851.0, 50.0, 48.0, 50.0)]);
    }

    #[test]
    fn every_place_belongs_to_one_band() {
        assert_eq!([0.0, 0.24, 0.26, 0.99, 1.0, 2.0].map(|place| band_at(place, 4)), [0, 0, 1, 3, 3, 3]);
        assert_eq!(band_at(0.5, 0), 0);
    }
}
