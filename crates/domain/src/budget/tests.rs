use std::collections::HashMap;

use super::*;

fn budget() -> Budget {
    Budget {
        id: BudgetId::from_uuid(1),
        organization_id: OrganizationId::from_uuid(2),
        workspace_id: None,
        name: DisplayName::parse("Research").expect("a name"),
        description: None,
        is_enabled: true,
        subject: Subject::default(),
        group_by: vec![Dimension::EndUser],
        measure: Measure::Cost,
        limits: vec![Limit { window: Window::Day, amount: 5 }, Limit { window: Window::Month, amount: 100 }],
        time_zone: "Europe/Berlin".to_owned(),
        enforcement: Enforcement::Hard,
        when_unreachable: WhenUnreachable::Refuse,
        alert_at: vec![50, 90],
        increase: None,
        carries_over: false,
        version: 1,
        created_at: Timestamp::from_micros(0),
        updated_at: Timestamp::from_micros(0),
        archived_at: None,
    }
}

#[test]
fn the_first_flaw_is_named_by_its_place() {
    assert_eq!(budget().check(), Ok(()));
    let day = Limit { window: Window::Day, amount: 1 };
    let flaws = [
        ("/limits", Budget { limits: vec![], ..budget() }),
        ("/limits/1/window", Budget { limits: vec![day, day], ..budget() }),
        ("/limits/0/amount", Budget { limits: vec![Limit { amount: u64::MAX, ..day }], ..budget() }),
        ("/time_zone", Budget { time_zone: "../etc".to_owned(), ..budget() }),
        ("/alert_at/1", Budget { alert_at: vec![90, 50], ..budget() }),
        ("/group_by/1", Budget { group_by: vec![Dimension::Model, Dimension::Model], ..budget() }),
        (
            "/carries_over",
            Budget { carries_over: true, limits: vec![Limit { window: Window::Total, amount: 1 }], ..budget() },
        ),
        (
            "/subject/tags/0",
            Budget { subject: Subject { tags: vec![String::new()], ..Subject::default() }, ..budget() },
        ),
        (
            "/subject/metadata/a~1b",
            Budget {
                subject: Subject { metadata: [("a/b".to_owned(), vec![])].into(), ..Subject::default() },
                ..budget()
            },
        ),
        (
            "/increase/reason",
            Budget {
                increase: Some(Increase { amount: 1, expires_at: Timestamp::from_micros(1), reason: " ".to_owned() }),
                ..budget()
            },
        ),
    ];
    for (pointer, flawed) in flaws {
        assert_eq!(flawed.check().expect_err(pointer).pointer, pointer);
    }
}

#[test]
fn an_increase_counts_until_it_ends_and_only_for_windows_that_are_limited() {
    let increase = Increase { amount: 7, expires_at: Timestamp::from_micros(10), reason: "launch".to_owned() };
    let budget = Budget { increase: Some(increase), ..budget() };
    assert_eq!(budget.amount(Window::Day, Timestamp::from_micros(9)), Some(12));
    assert_eq!(budget.amount(Window::Day, Timestamp::from_micros(10)), Some(5));
    assert_eq!(budget.amount(Window::Week, Timestamp::from_micros(9)), None);
}

#[test]
fn amounts_have_the_form_of_their_measure() {
    let text = |measure, amount| serde_json::to_string(&Amount::new(measure, amount)).expect("serialises");
    assert_eq!(text(Measure::Cost, 12_500_000_000), "\"12.5\"");
    assert_eq!(text(Measure::Tokens, 12), "12");
    let read = |json: &str, measure| serde_json::from_str::<Amount>(json).expect("an amount").read(measure);
    assert_eq!(read("\"0.000000001\"", Measure::Cost), Ok(1));
    assert_eq!(read("7", Measure::Requests), Ok(7));
    assert!(read("7", Measure::Cost).is_err() && read("\"7\"", Measure::Tokens).is_err());
    assert!(read("\"-1\"", Measure::Cost).is_err() && read("\"1000000000.1\"", Measure::Cost).is_err());
    assert!(serde_json::from_str::<Amount>("1.5").is_err());
}

#[test]
fn dimensions_parse_back() {
    for text in ["workspace", "virtual_key", "metadata:team"] {
        assert_eq!(text.parse::<Dimension>().map(|it| it.to_string()).as_deref(), Ok(text));
    }
    for text in ["", "metadata:", "team"] {
        assert!(text.parse::<Dimension>().is_err(), "{text}");
    }
}

#[test]
fn different_values_never_share_an_account() {
    let pieces = ["", "a", "b", "|", "\\", "a|b", "\\|", "#"];
    let mut seen: HashMap<String, [&str; 2]> = HashMap::new();
    for first in pieces {
        for second in pieces {
            let key = group_key([first, second]);
            assert_eq!(group_values(&key), [first, second]);
            assert_eq!(seen.insert(key, [first, second]), None);
        }
    }
    let (long, longer) = ("ü".repeat(400), "ü".repeat(401));
    let keys = [group_key([long.as_str()]), group_key([longer.as_str()])];
    assert!(keys.iter().all(|key| key.len() <= MAX_GROUP_KEY) && keys[0] != keys[1]);
    assert!(!group_key(["a\0b"]).contains('\0'));
}

#[test]
fn a_subject_is_read_as_it_is_written_and_strange_conditions_are_refused() {
    let subject = Subject {
        models: vec![ModelPattern::parse("openai/*").expect("a pattern")],
        metadata: [("team".to_owned(), vec!["a".to_owned()])].into(),
        ..Subject::default()
    };
    let json = serde_json::to_string(&subject).expect("serialises");
    assert_eq!(json, r#"{"metadata":{"team":["a"]},"models":["openai/*"]}"#);
    assert_eq!(serde_json::from_str::<Subject>(&json).expect("parses"), subject);
    assert!(serde_json::from_str::<Subject>(r#"{"users":["a"]}"#).is_err());
}
