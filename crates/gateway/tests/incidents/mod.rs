//! What was published of other gateways' failures with money, limits and keys, played against this one: `docs/incidents.md`.
//!
//! One test each, named after the issue; it goes through the whole path of a call. The page is drawn from the table below and
//! from the list of what other suites prove; a test that is not in the table, or a row without its test, fails.

mod bills;
mod leaks;
mod overspend;
mod page;
mod table;

use std::collections::BTreeSet;
use std::path::Path;

use domain::RateLimitId;
use domain::budget::Subject;
use domain::rate_limit::{Measure, Per, Rate};
use policy::Content;
use policy::resource::RateLimit;

use crate::harness::Bench;
use crate::harness::client::Answer;
use crate::harness::policy::World;

/// What a row of the page says.
struct Incident {
    /// Where it was published, as `owner/name#number` or a page.
    issues: &'static [&'static str],
    happened: &'static str,
    promise: &'static str,
    test: &'static str,
}

const fn rate(measure: Measure, per: Option<Per>, amount: u64) -> Rate {
    Rate { measure, per, amount }
}

const fn per_minute(amount: u64) -> Rate {
    rate(Measure::Requests, Some(Per::Minute), amount)
}

fn limit(rates: Vec<Rate>) -> RateLimit {
    RateLimit {
        id: RateLimitId::from_uuid(700),
        workspace: None,
        name: "Fair use".to_owned(),
        subject: Subject::default(),
        group_by: Vec::new(),
        rates,
    }
}

fn limited(limit: RateLimit) -> Bench {
    let mut world = World::standard();
    world.contents.push(Content::RateLimit(limit));
    Bench::of(&world)
}

fn count_served(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[test]
fn the_page_of_incidents_names_each_test_once_and_is_fresh() {
    let sources = [include_str!("overspend.rs"), include_str!("leaks.rs"), include_str!("bills.rs")];
    let written: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split("#[tokio::test(start_paused = true)]\nasync fn ").skip(1))
        .filter_map(|rest| rest.split('(').next())
        .collect();
    let rows: Vec<&str> = table::groups().iter().flat_map(|(_, rows)| *rows).map(|row| row.test).collect();
    let listed: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(rows.len(), listed.len(), "each test stands in one row");
    assert_eq!(written, listed, "each row has its test, and each test its row");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/incidents.md");
    testkit::golden::check(&path, &page::render(&table::groups()));
}
