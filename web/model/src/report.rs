//! Usage reports as charts: which buckets a range is cut into, and how rows become series. Pure.
//!
//! Invariant: every bucket of the range has a point; a bucket without rows is zero for counts and unknown for latencies.

use std::time::Duration;

use api::ops::usage::{UsageReport, UsageSums};
use domain::Timestamp;

use crate::range::TimeRange;
use ui::chart::{ChartData, Series, Slot};
use ui::format::time::Zone;
use ui::format::{money, number};

/// How fine a chart is cut. All come from the ledger's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// So many minutes: a divisor of an hour.
    Minutes(u8),
    Hour,
    Day,
}

/// For how long the API is asked for minutes. It keeps them for a whole day more than two, less whatever this clock is off.
const MINUTES_KEPT: Duration = Duration::from_secs(71 * 3_600);

impl Bucket {
    /// The cut that gives some dozens of points, of those that every dimension has.
    pub fn of(range: TimeRange) -> Self {
        if range.length().as_secs() <= 259_200 { Self::Hour } else { Self::Day }
    }

    /// The cut that gives some dozens of points, minutes included: for sums without a dimension but time.
    pub fn fine((from, to): (Timestamp, Timestamp), now: Timestamp) -> Self {
        let is_kept = from >= now.minus(MINUTES_KEPT);
        match to.since(from).as_secs() {
            0..=3_600 if is_kept => Self::Minutes(1),
            3_601..=21_600 if is_kept => Self::Minutes(5),
            21_601..=86_400 if is_kept => Self::Minutes(15),
            0..=259_200 => Self::Hour,
            _ => Self::Day,
        }
    }

    /// The dimension of the API.
    pub fn dimension(self) -> &'static str {
        match self {
            Self::Minutes(_) => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// How many minutes a step has, as the API wants to be told.
    pub fn minutes(self) -> Option<u8> {
        if let Self::Minutes(minutes) = self { Some(minutes) } else { None }
    }

    pub fn step(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minutes(minutes) => 60 * u64::from(minutes),
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }

    /// What the points of a chart are, with the zone that its times are in.
    pub fn caption(self, zone: Zone) -> String {
        match self {
            // Days are the ledger's, which are of UTC.
            Self::Day => "per day, UTC".to_owned(),
            Self::Hour => format!("per hour, times in {}", zone.name()),
            Self::Minutes(1) => format!("per minute, times in {}", zone.name()),
            Self::Minutes(minutes) => format!("per {minutes} minutes, times in {}", zone.name()),
        }
    }

    fn floor(self, at: Timestamp) -> Timestamp {
        let step = i64::try_from(self.step().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(at.as_micros() - at.as_micros().rem_euclid(step))
    }

    /// The beginnings of all buckets that touch the range.
    pub fn times(self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let first = self.floor(from);
        std::iter::successors(Some(first), |at| Some(at.plus(self.step())))
            .take_while(|at| *at < to)
            .take(400)
            .collect()
    }
}

/// What is drawn or ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Cost,
    Requests,
    Tokens,
    Errors,
}

impl Metric {
    pub const ALL: [Self; 4] = [Self::Cost, Self::Requests, Self::Tokens, Self::Errors];

    pub fn key(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Errors => "errors",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Cost => "Spend",
            Self::Requests => "Requests",
            Self::Tokens => "Tokens",
            Self::Errors => "Errors",
        }
    }

    pub fn find(key: &str) -> Self {
        Self::ALL.into_iter().find(|metric| metric.key() == key).unwrap_or(Self::Cost)
    }

    pub fn of(self, sums: &UsageSums) -> f64 {
        match self {
            Self::Cost => money::as_dollars(sums.cost_usd),
            Self::Requests => number::as_f64(sums.requests),
            Self::Tokens => number::as_f64(sums.tokens.total()),
            Self::Errors => number::as_f64(sums.errors),
        }
    }

    /// Prints a value in full.
    pub fn text(self) -> fn(f64) -> String {
        if self == Self::Cost { dollars } else { number::compact }
    }

    /// Prints a value on an axis.
    pub fn axis(self) -> fn(f64) -> String {
        if self == Self::Cost { money::axis } else { number::compact }
    }
}

/// Prints dollars that are already a chart value.
pub fn dollars(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "chart values came from nano-dollars and saturate")]
    let nanos = (value * 1e9).round() as i64;
    money::usd(domain::NanoUsd::from_nanos(nanos))
}

/// Prints milliseconds that are already a chart value.
pub fn milliseconds(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value >= 1_000.0 {
        format!("{} s", number::trimmed(value / 1_000.0, 2))
    } else {
        format!("{} ms", number::trimmed(value, 0))
    }
}

fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| format!("{text}T00:00:00Z").parse().ok())
}

fn index_of(times: &[Timestamp], at: Timestamp) -> Option<usize> {
    times.partition_point(|time| *time <= at).checked_sub(1)
}

/// One series from a report grouped by time alone.
pub fn over_time(
    report: &UsageReport,
    times: &[Timestamp],
    missing: f64,
    value: impl Fn(&UsageSums) -> Option<f64>,
) -> Vec<f64> {
    let mut values = vec![missing; times.len()];
    for row in &report.rows {
        let at = row.group.first().and_then(|text| parse_time(text)).and_then(|at| index_of(times, at));
        if let (Some(slot), Some(value)) = (at.and_then(|index| values.get_mut(index)), value(&row.sums)) {
            *slot = value;
        }
    }
    values
}

/// Stacked series from a report grouped by time and one dimension: the seven largest, and the rest as one.
pub fn by_dimension(
    report: &UsageReport,
    times: &[Timestamp],
    step: Duration,
    metric: Metric,
    is_open: bool,
) -> ChartData {
    let mut groups: Vec<(String, Vec<f64>, f64)> = Vec::new();
    for row in &report.rows {
        let at = row.group.first().and_then(|text| parse_time(text)).and_then(|at| index_of(times, at));
        let (Some(at), Some(key)) = (at, row.group.get(1)) else { continue };
        let name = row.labels.get(1).filter(|label| !label.is_empty()).unwrap_or(key);
        let value = metric.of(&row.sums);
        let position = groups.iter().position(|group| &group.0 == name).unwrap_or_else(|| {
            groups.push((name.clone(), vec![0.0; times.len()], 0.0));
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(position) {
            group.2 += value;
            if let Some(slot) = group.1.get_mut(at) {
                *slot += value;
            }
        }
    }
    ui::sort::by(&mut groups, |left, right| right.2.total_cmp(&left.2));
    let rest = groups.split_off(groups.len().min(7));
    let mut series: Vec<Series> = groups
        .into_iter()
        .enumerate()
        .map(|(index, (name, values, _))| Series {
            name: if name.is_empty() { "none".to_owned() } else { name },
            slot: Slot::Rank(index),
            values,
        })
        .collect();
    if !rest.is_empty() {
        let sum = |index: usize| rest.iter().filter_map(|group| group.1.get(index)).sum();
        series.push(Series {
            name: format!("{} others", rest.len()),
            slot: Slot::Rank(7),
            values: (0..times.len()).map(sum).collect(),
        });
    }
    ChartData { times: times.to_vec(), step, series, is_open }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::ops::usage::UsageRow;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn row(group: &[&str], requests: u64) -> UsageRow {
        let group: Vec<String> = group.iter().map(|text| (*text).to_owned()).collect();
        UsageRow { labels: group.clone(), group, sums: UsageSums { requests, ..UsageSums::default() } }
    }

    fn report(rows: Vec<UsageRow>) -> UsageReport {
        UsageReport {
            from: at("2026-11-22T00:00:00Z"),
            to: at("2026-11-22T03:00:00Z"),
            group_by: Vec::new(),
            rows,
            is_truncated: false,
            total: UsageSums::default(),
            fresh_at: None,
        }
    }

    #[test]
    fn every_bucket_of_the_range_has_a_point() {
        let times = Bucket::Hour.times(at("2026-11-22T00:30:00Z"), at("2026-11-22T03:00:00Z"));
        assert_eq!(times, [at("2026-11-22T00:00:00Z"), at("2026-11-22T01:00:00Z"), at("2026-11-22T02:00:00Z")]);
        assert_eq!(Bucket::Day.times(at("2026-11-20T12:00:00Z"), at("2026-11-22T00:00:00Z")).len(), 2);
        assert_eq!(Bucket::Minutes(15).times(at("2026-11-22T00:20:00Z"), at("2026-11-22T01:00:01Z")).len(), 4);
    }

    #[test]
    fn a_range_is_cut_into_some_dozens_of_points_that_the_ledger_has() {
        let now = at("2026-11-22T12:34:56Z");
        let wanted = [
            (Bucket::Minutes(1), Bucket::Hour),
            (Bucket::Minutes(1), Bucket::Hour),
            (Bucket::Minutes(5), Bucket::Hour),
            (Bucket::Minutes(15), Bucket::Hour),
            (Bucket::Day, Bucket::Day),
            (Bucket::Day, Bucket::Day),
            (Bucket::Day, Bucket::Day),
        ];
        for (index, (fine, by_any)) in wanted.into_iter().enumerate() {
            let range = TimeRange::Last(index);
            let (from, to) = range.bounds(now);
            assert_eq!((Bucket::fine((from, to), now), Bucket::of(range)), (fine, by_any), "{range:?}");
            assert!((7..=98).contains(&fine.times(from, to).len()), "{range:?}");
        }
        // Minutes that are kept no longer would all be zero.
        let old = (at("2026-11-19T12:00:00Z"), at("2026-11-19T12:30:00Z"));
        assert_eq!(Bucket::fine(old, now), Bucket::Hour);
    }

    #[test]
    fn rows_land_in_their_buckets_and_gaps_stay() {
        let times = Bucket::Hour.times(at("2026-11-22T00:00:00Z"), at("2026-11-22T03:00:00Z"));
        let report = report(vec![row(&["2026-11-22T01:00:00Z"], 4)]);
        assert_eq!(over_time(&report, &times, 0.0, |sums| Some(number::as_f64(sums.requests))), [0.0, 4.0, 0.0]);
        let times = Bucket::Minutes(5).times(at("2026-11-22T00:57:30Z"), at("2026-11-22T01:07:00Z"));
        assert_eq!(over_time(&report, &times, 0.0, |sums| Some(number::as_f64(sums.requests))), [0.0, 4.0, 0.0]);
    }

    #[test]
    fn small_groups_become_one() {
        let times = Bucket::Hour.times(at("2026-11-22T00:00:00Z"), at("2026-11-22T01:00:00Z"));
        let rows = (0_u64..9).map(|index| row(&["2026-11-22T00:00:00Z", &format!("m{index}")], 100 - index)).collect();
        let data = by_dimension(&report(rows), &times, Duration::from_secs(3_600), Metric::Requests, false);
        assert_eq!(data.series.len(), 8);
        assert_eq!((data.series[0].name.as_str(), data.series[7].name.as_str()), ("m0", "2 others"));
        assert_eq!(data.series[7].values, [93.0 + 92.0]);
    }
}
