use super::*;
use crate::node::Holds;

fn limit() -> RateLimit {
    RateLimit {
        id: RateLimitId::from_uuid(1),
        organization_id: OrganizationId::from_uuid(1),
        workspace_id: None,
        name: DisplayName::parse("Fair use").expect("a name"),
        description: None,
        is_enabled: true,
        subject: Subject::default(),
        group_by: vec![Dimension::EndUser],
        rates: vec![Rate { measure: Measure::Requests, per: Some(Per::Minute), amount: 60 }],
        version: 1,
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(1),
        archived_at: None,
    }
}

#[test]
fn a_flaw_is_named_where_it_is() {
    assert_eq!(limit().check(), Ok(()));
    let rate = limit().rates[0];
    let flaws = [
        ("/rates", RateLimit { rates: vec![], ..limit() }),
        ("/rates/0/per", RateLimit { rates: vec![Rate { per: None, ..rate }], ..limit() }),
        ("/rates/0/per", RateLimit { rates: vec![Rate { measure: Measure::Concurrent, ..rate }], ..limit() }),
        ("/rates/0/amount", RateLimit { rates: vec![Rate { amount: 0, ..rate }], ..limit() }),
        ("/rates/0/amount", RateLimit { rates: vec![Rate { amount: u64::MAX, ..rate }], ..limit() }),
        ("/rates/1", RateLimit { rates: vec![rate, Rate { amount: 7, ..rate }], ..limit() }),
        ("/group_by/1", RateLimit { group_by: vec![Dimension::Model, Dimension::Model], ..limit() }),
        (
            "/subject/tags/0",
            RateLimit { subject: Subject { tags: vec![String::new()], ..Subject::default() }, ..limit() },
        ),
    ];
    for (pointer, flawed) in flaws {
        assert_eq!(flawed.check().expect_err(pointer).pointer, pointer);
    }
}

#[test]
fn a_rate_reads_like_a_sentence() {
    let rate = |measure, per, amount| Rate { measure, per, amount }.to_string();
    assert_eq!(rate(Measure::Requests, Some(Per::Minute), 60), "60 requests per minute");
    assert_eq!(rate(Measure::Concurrent, None, 5), "5 calls at once");
    assert_eq!(rate(Measure::Cost, Some(Per::Hour), 12_500_000_000), "12.5 dollars per hour");
}

#[test]
fn shares_add_up_to_the_whole_and_differ_by_one_at_most() {
    for amount in [0, 1, 2, 7, 60, 1_000_003, RateLimit::MAX_AMOUNT] {
        for nodes in 1_u32..20 {
            let parts: Vec<u64> = (0..nodes).map(|place| Share::new(nodes, place).of(amount)).collect();
            assert_eq!(parts.iter().sum::<u64>(), amount);
            assert!(parts[0] - parts[parts.len() - 1] <= 1);
            assert!(Share::new(nodes, nodes).of(amount) <= parts[parts.len() - 1], "no place, no more than the last");
        }
    }
}

#[test]
fn nodes_share_with_those_that_may_serve_the_same_calls() {
    let only = |ids: &[u128]| Holds::Only(ids.iter().map(|id| OrganizationId::from_uuid(*id)).collect());
    let shares = |nodes: &[Holds]| {
        let nodes: Vec<_> = nodes.iter().cloned().enumerate().collect();
        Share::among(&nodes).into_iter().map(|(_, share)| (share.nodes(), share.place())).collect::<Vec<_>>()
    };
    assert_eq!(shares(&[Holds::All, Holds::All, Holds::All]), [(3, 0), (3, 1), (3, 2)]);
    assert_eq!(shares(&[only(&[1]), only(&[2]), only(&[1])]), [(2, 0), (1, 0), (2, 1)]);
    // Two fleets that meet at one organization: what is left over of a division is nobody's.
    assert_eq!(shares(&[Holds::All, only(&[1])]), [(2, 2), (2, 2)]);
    assert!(shares(&[]).is_empty());
}
