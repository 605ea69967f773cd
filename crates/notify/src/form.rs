//! An alert in the languages of destinations. Pure: the same alert gives the same bytes at every try.

use std::fmt::Write as _;

use domain::alert::{Alert, Severity};
use serde_json::{Value, json};

/// Facts that a message of Slack shows: its own bound.
const SLACK_FIELDS: usize = 10;
/// Longest field of a message of Slack, in characters: its bound is 2,000 with the name.
const SLACK_FIELD: usize = 1_000;

/// The body of a webhook: `type`, `timestamp` and `data`, as Standard Webhooks recommends.
#[must_use]
pub fn webhook(alert: &Alert) -> Value {
    json!({
        "type": alert.kind,
        "timestamp": alert.occurred_at,
        "data": {
            "id": alert.id,
            "organization_id": alert.organization_id,
            "workspace_id": alert.workspace_id,
            "severity": alert.severity,
            "subject": alert.subject,
            "is_resolved": alert.is_resolved,
            "summary": alert.summary,
            "facts": alert.facts,
        },
    })
}

/// The body of an incoming webhook of Slack: a text for notifications and the same in blocks.
#[must_use]
pub fn slack(alert: &Alert) -> Value {
    let mark = match (alert.is_resolved, alert.severity) {
        (true, _) => ":white_check_mark:",
        (false, Severity::Critical) => ":rotating_light:",
        (false, Severity::Warning) => ":warning:",
        (false, Severity::Info) => ":information_source:",
    };
    let summary = escape(&alert.summary);
    let fields: Vec<Value> = alert
        .facts
        .iter()
        .take(SLACK_FIELDS)
        .map(|(name, value)| {
            let value: String = value.chars().take(SLACK_FIELD).collect();
            json!({ "type": "mrkdwn", "text": format!("*{}*\n{}", escape(name), escape(&value)) })
        })
        .collect();
    let mut blocks = vec![json!({
        "type": "section", "text": { "type": "mrkdwn", "text": format!("{mark} *{summary}*") },
    })];
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    let foot = format!("{} · {} · {}", alert.kind, alert.occurred_at, alert.id);
    blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": foot }] }));
    json!({ "text": format!("{mark} {summary}"), "blocks": blocks })
}

/// The three characters that mean something to Slack.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An event of the Events API v2: the subject is its key, so that what ends something resolves what began it.
#[must_use]
pub fn pagerduty(alert: &Alert, routing_key: &str) -> Value {
    json!({
        "routing_key": routing_key,
        "event_action": if alert.is_resolved { "resolve" } else { "trigger" },
        // At most 255 characters, as subjects are bounded.
        "dedup_key": format!("{}/{}", alert.organization_id, alert.subject),
        "payload": {
            "summary": alert.summary,
            "source": "headgate",
            "severity": alert.severity,
            "timestamp": alert.occurred_at,
            "component": alert.kind,
            "group": alert.workspace_id.map_or_else(|| alert.organization_id.to_string(), |id| id.to_string()),
            "custom_details": alert.facts,
        },
        "client": "Headgate",
    })
}

/// Subject and text of an e-mail.
#[must_use]
pub fn email(alert: &Alert) -> (String, String) {
    let line: String = alert.summary.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mark = if alert.is_resolved { "resolved" } else { alert.severity.as_str() };
    let mut text = format!("{}\n\n", alert.summary);
    for (name, value) in &alert.facts {
        let _ = writeln!(text, "{name}: {value}");
    }
    let _ = write!(
        text,
        "\nkind: {}\nseverity: {}\nat: {}\nalert: {}\norganization: {}\n",
        alert.kind, alert.severity, alert.occurred_at, alert.id, alert.organization_id
    );
    (format!("[Headgate] {mark}: {line}"), text)
}

#[cfg(test)]
mod tests {
    use domain::alert::AlertKind;
    use domain::{OrganizationId, Timestamp};

    use super::*;

    fn alert() -> Alert {
        let at = Timestamp::from_micros(1_795_348_800_000_000);
        let summary = "Budget “<R&D>” has reached 80 %.";
        let kind = (AlertKind::BudgetThreshold, Severity::Warning);
        Alert::new(OrganizationId::from_uuid(1), kind, "budget/bud_1/day", "o", summary, at)
            .with("limit", "25")
            .with("posted", "20.5")
    }

    #[test]
    fn a_webhook_has_type_timestamp_and_data() {
        let body = webhook(&alert());
        assert_eq!(body["type"], "budget_threshold");
        assert_eq!(body["timestamp"], "2026-11-22T12:00:00Z");
        assert_eq!(body["data"]["facts"]["posted"], "20.5");
        assert_eq!(body["data"]["severity"], "warning");
        assert!(body["data"]["workspace_id"].is_null());
        assert_eq!(webhook(&alert()).to_string(), body.to_string());
    }

    #[test]
    fn slack_is_told_in_text_and_blocks_without_its_own_marks() {
        let body = slack(&alert());
        assert_eq!(body["text"], ":warning: Budget “&lt;R&amp;D&gt;” has reached 80 %.");
        assert_eq!(body["blocks"][1]["fields"][0]["text"], "*limit*\n25");
        assert_eq!(slack(&alert().resolved())["text"].as_str().map(|text| text.starts_with(":white")), Some(true));
        let many = (0..30).fold(alert(), |alert, n| alert.with(&format!("f{n}"), "x".repeat(5_000)));
        let fields = slack(&many)["blocks"][1]["fields"].as_array().cloned().expect("fields");
        assert_eq!(fields.len(), 10);
        assert!(fields.iter().all(|field| field["text"].as_str().is_some_and(|text| text.len() < 2_000)));
    }

    #[test]
    fn what_ends_something_resolves_the_event_that_began_it() {
        let (began, ended) = (pagerduty(&alert(), "R1"), pagerduty(&alert().resolved(), "R1"));
        assert_eq!((&began["event_action"], &ended["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(began["dedup_key"], ended["dedup_key"]);
        assert_eq!(began["payload"]["severity"], "warning");
        assert_eq!(began["routing_key"], "R1");
    }

    #[test]
    fn the_subject_of_an_email_is_one_line() {
        let mut alert = alert();
        alert.summary = "one\r\nBcc: two@example.com".to_owned();
        let (subject, text) = email(&alert);
        assert_eq!(subject, "[Headgate] warning: one  Bcc: two@example.com");
        assert!(text.contains("posted: 20.5\n") && text.contains("alert: alrt_"));
    }
}
