//! Writes a usage report as comma-separated values (RFC 4180) that a spreadsheet may open.
//!
//! What a field may hold, and why none is taken for a formula, is said in [`books::table`].

use api::ops::usage::{UsageReport, UsageSums};

const SUMS: &str = "requests,errors,failures,input_tokens,cached_input_tokens,cache_write_5m_tokens,cache_write_1h_tokens,\
                    output_tokens,reasoning_tokens,cost_usd,p50_ms,p95_ms,first_byte_p50_ms,overhead_p50_us,images,audio_ms,characters,\
                    searches,pages";

/// Writes the head line and one line per group; without dimensions, one line with everything.
pub(super) fn write(report: &UsageReport) -> String {
    let mut out = String::new();
    for name in &report.group_by {
        out.push_str(name);
        out.push(',');
        out.push_str(name);
        out.push_str("_name,");
    }
    out.push_str(SUMS);
    out.push_str("\r\n");
    if report.group_by.is_empty() {
        push_sums(&mut out, &report.total);
    }
    for row in &report.rows {
        for (value, label) in row.group.iter().zip(&row.labels) {
            push_text(&mut out, value);
            push_text(&mut out, label);
        }
        push_sums(&mut out, &row.sums);
    }
    out
}

fn push_text(out: &mut String, text: &str) {
    books::table::push_text(out, text);
    out.push(',');
}

fn push_sums(out: &mut String, sums: &UsageSums) {
    let tokens = &sums.tokens;
    let counts = [
        sums.requests,
        sums.errors,
        sums.failures,
        tokens.input,
        tokens.cached_input,
        tokens.cache_write_5m,
        tokens.cache_write_1h,
        tokens.output,
        tokens.reasoning,
    ];
    let counts = counts.map(|count| count.to_string());
    let times = [sums.p50_ms, sums.p95_ms, sums.first_byte_p50_ms, sums.overhead_p50_us];
    let times = times.map(|time| time.map_or_else(String::new, |time| time.to_string()));
    let units = &sums.units;
    let units = [units.images, units.audio_ms, units.characters, units.searches, units.pages];
    let units = units.map(|count| count.to_string());
    let fields = counts.into_iter().chain([sums.cost_usd.to_string()]).chain(times).chain(units);
    out.push_str(&fields.collect::<Vec<_>>().join(","));
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::ops::usage::UsageRow;
    use domain::Timestamp;

    fn report(values: &[&str]) -> UsageReport {
        let row = |value: &&str| UsageRow {
            group: vec![(*value).to_owned()],
            labels: vec![(*value).to_owned()],
            sums: UsageSums { requests: 1, p50_ms: Some(7), ..UsageSums::default() },
        };
        UsageReport {
            from: Timestamp::from_micros(0),
            to: Timestamp::from_micros(1),
            group_by: vec!["model".to_owned()],
            rows: values.iter().map(row).collect(),
            is_truncated: false,
            total: UsageSums::default(),
            fresh_at: None,
        }
    }

    #[test]
    fn a_table_has_a_head_and_a_line_per_group() {
        let text = write(&report(&["gpt-4o", "a,b \"c\"", "=1+1"]));
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert!(lines[0].starts_with("model,model_name,requests,errors,"), "{}", lines[0]);
        assert!(lines[1].starts_with("gpt-4o,gpt-4o,1,0,0,") && lines[1].ends_with(",7,,,,0,0,0,0,0"), "{}", lines[1]);
        assert!(lines[2].starts_with("\"a,b \"\"c\"\"\",\"a,b \"\"c\"\"\",1,"), "{}", lines[2]);
        assert!(lines[3].starts_with("\"'=1+1\",\"'=1+1\",1,"), "{}", lines[3]);
        let columns = |line: &str| line.matches(',').count();
        assert_eq!(columns(lines[0]), columns(lines[1]));
        let whole = write(&UsageReport { group_by: Vec::new(), rows: Vec::new(), ..report(&[]) });
        assert_eq!(whole.lines().count(), 2, "the total, when nothing else was asked for");
    }
}
