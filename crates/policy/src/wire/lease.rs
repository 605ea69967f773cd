//! Leases: what a node tells and is told ⇄ messages.

use std::time::Duration;

use domain::budget::{AccountKey, Budget, Window};
use domain::lease::{Answer, Ask, Balance, Grant, Holding, Shortage, Standing, Tell, Told};
use domain::{LeaseId, Timestamp};
use proto::v1;

use super::{Reason, WireError, bounded, group_key, id, wrong};

/// Most things of one kind in one message.
pub const MAX_PARTS: usize = 10_000;
/// Longest name of a life of a node.
const MAX_BOOT: usize = 64;

/// Turns what a node says into its message.
#[must_use]
pub fn encode_tell(it: &Tell) -> v1::TellRequest {
    v1::TellRequest {
        boot_id: it.boot.clone(),
        sequence: it.sequence,
        asks: it.asks.iter().map(ask_message).collect(),
        holdings: it.holdings.iter().map(holding_message).collect(),
        done_lease_ids: it.done.iter().map(ToString::to_string).collect(),
        delivered_boot_ids: it.delivered_boots.clone(),
    }
}

/// Reads what a node says.
pub fn decode_tell(it: v1::TellRequest) -> Result<Tell, WireError> {
    let counts = [
        ("asks", it.asks.len()),
        ("holdings", it.holdings.len()),
        ("done_lease_ids", it.done_lease_ids.len()),
        ("delivered_boot_ids", it.delivered_boot_ids.len()),
    ];
    for (field, count) in counts {
        if count > MAX_PARTS {
            return Err(wrong(field, Reason::OutOfBounds));
        }
    }
    if it.sequence == 0 {
        return Err(wrong("sequence", Reason::Missing));
    }
    Ok(Tell {
        boot: bounded("boot_id", it.boot_id, MAX_BOOT)?,
        sequence: it.sequence,
        asks: it.asks.into_iter().map(ask).collect::<Result<_, _>>()?,
        holdings: it.holdings.iter().map(holding).collect::<Result<_, _>>()?,
        done: it.done_lease_ids.iter().map(|text| id("done_lease_ids", text)).collect::<Result<_, _>>()?,
        delivered_boots: it
            .delivered_boot_ids
            .into_iter()
            .map(|text| bounded("delivered_boot_ids", text, MAX_BOOT))
            .collect::<Result<_, _>>()?,
    })
}

/// Turns what a node is told into its message.
#[must_use]
pub fn encode_told(it: &Told) -> v1::TellReply {
    v1::TellReply {
        answers: it.answers.iter().map(answer_message).collect(),
        standings: it.standings.iter().map(standing_message).collect(),
    }
}

/// Reads what a node is told.
pub fn decode_told(it: v1::TellReply) -> Result<Told, WireError> {
    Ok(Told {
        answers: it.answers.into_iter().map(answer).collect::<Result<_, _>>()?,
        standings: it.standings.iter().map(standing).collect::<Result<_, _>>()?,
    })
}

/// Turns the name of an account into its message.
#[must_use]
pub fn encode_account(it: &AccountKey) -> v1::AccountKey {
    v1::AccountKey {
        organization_id: it.organization_id.to_string(),
        budget_id: it.budget_id.to_string(),
        window: it.window.to_string(),
        group_key: it.group_key.to_string(),
    }
}

fn account(it: Option<v1::AccountKey>) -> Result<AccountKey, WireError> {
    let it = it.ok_or(wrong("asks.account", Reason::Missing))?;
    Ok(AccountKey {
        organization_id: id("asks.account.organization_id", &it.organization_id)?,
        budget_id: id("asks.account.budget_id", &it.budget_id)?,
        window: Window::find(&it.window).ok_or(wrong("asks.account.window", Reason::Unknown))?,
        group_key: group_key("asks.account.group_key", &it.group_key)?,
    })
}

/// Amounts are bounded, so that a few of them can be added without care.
const fn amount(field: &'static str, value: u64) -> Result<u64, WireError> {
    if value > Budget::MAX_AMOUNT { Err(wrong(field, Reason::OutOfBounds)) } else { Ok(value) }
}

/// A lease's sums only grow, so they may go beyond what a single amount may be.
const fn sum(field: &'static str, value: u64) -> Result<u64, WireError> {
    if value > i64::MAX.unsigned_abs() { Err(wrong(field, Reason::OutOfBounds)) } else { Ok(value) }
}

fn ask(it: v1::Ask) -> Result<Ask, WireError> {
    Ok(Ask {
        account: account(it.account)?,
        need: amount("asks.need", it.need)?,
        ahead: amount("asks.ahead", it.ahead)?,
    })
}

fn ask_message(it: &Ask) -> v1::Ask {
    v1::Ask { account: Some(encode_account(&it.account)), need: it.need, ahead: it.ahead }
}

fn holding(it: &v1::Holding) -> Result<Holding, WireError> {
    Ok(Holding {
        lease_id: id("holdings.lease_id", &it.lease_id)?,
        granted: sum("holdings.granted", it.granted)?,
        returned: sum("holdings.returned", it.returned)?,
        unused: sum("holdings.unused", it.unused)?,
        held: sum("holdings.held", it.held)?,
    })
}

fn holding_message(it: &Holding) -> v1::Holding {
    v1::Holding {
        lease_id: it.lease_id.to_string(),
        granted: it.granted,
        returned: it.returned,
        unused: it.unused,
        held: it.held,
    }
}

fn lease_id(field: &'static str, text: &str) -> Result<LeaseId, WireError> {
    id(field, text)
}

fn millis(it: Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

fn balance(it: Option<v1::Balance>) -> Balance {
    let it = it.unwrap_or_default();
    Balance { limit: it.limit, posted: it.posted, leased: it.leased }
}

const fn balance_message(it: &Balance) -> v1::Balance {
    v1::Balance { limit: it.limit, posted: it.posted, leased: it.leased }
}

fn shortage(it: v1::Shortage) -> Shortage {
    Shortage { balance: balance(it.balance), resets_at: it.resets_at_us.map(Timestamp::from_micros) }
}

fn shortage_message(it: &Shortage) -> v1::Shortage {
    v1::Shortage { balance: Some(balance_message(&it.balance)), resets_at_us: it.resets_at.map(Timestamp::as_micros) }
}

fn answer(it: v1::Answer) -> Result<Answer, WireError> {
    use v1::answer::Body;
    Ok(match it.body.ok_or(wrong("answers.body", Reason::Missing))? {
        Body::Granted(it) => Answer::Granted(Grant {
            lease_id: lease_id("answers.granted.lease_id", &it.lease_id)?,
            granted: sum("answers.granted.granted", it.granted)?,
            ttl: Duration::from_millis(it.ttl_ms),
            window_start: Timestamp::from_micros(it.window_start_us),
            window_end: it.window_end_us.map(Timestamp::from_micros),
            is_scarce: it.is_scarce,
            balance: balance(it.balance),
        }),
        Body::Exhausted(it) => Answer::Exhausted(shortage(it)),
        Body::Pending(it) => Answer::Pending(shortage(it)),
        Body::Unknown(_) => Answer::Unknown,
    })
}

fn answer_message(it: &Answer) -> v1::Answer {
    use v1::answer::Body;
    let body = match it {
        Answer::Granted(it) => Body::Granted(v1::Grant {
            lease_id: it.lease_id.to_string(),
            granted: it.granted,
            ttl_ms: millis(it.ttl),
            window_start_us: it.window_start.as_micros(),
            window_end_us: it.window_end.map(Timestamp::as_micros),
            is_scarce: it.is_scarce,
            balance: Some(balance_message(&it.balance)),
        }),
        Answer::Exhausted(it) => Body::Exhausted(shortage_message(it)),
        Answer::Pending(it) => Body::Pending(shortage_message(it)),
        Answer::Unknown => Body::Unknown(v1::UnknownBudget {}),
    };
    v1::Answer { body: Some(body) }
}

fn standing(it: &v1::Standing) -> Result<Standing, WireError> {
    Ok(Standing {
        lease_id: lease_id("standings.lease_id", &it.lease_id)?,
        is_open: it.is_open,
        granted: sum("standings.granted", it.granted)?,
        ttl: Duration::from_millis(it.ttl_ms),
        is_recalled: it.is_recalled,
    })
}

fn standing_message(it: &Standing) -> v1::Standing {
    v1::Standing {
        lease_id: it.lease_id.to_string(),
        is_open: it.is_open,
        granted: it.granted,
        ttl_ms: millis(it.ttl),
        is_recalled: it.is_recalled,
    }
}

#[cfg(test)]
mod tests {
    use domain::{BudgetId, OrganizationId};

    use super::*;

    fn tell() -> Tell {
        let account = AccountKey {
            organization_id: OrganizationId::from_uuid(1),
            budget_id: BudgetId::from_uuid(2),
            window: Window::Month,
            group_key: "a|b".into(),
        };
        let holding = Holding { lease_id: LeaseId::from_uuid(3), granted: 9, returned: 2, unused: 3, held: 1 };
        Tell {
            boot: "b".to_owned(),
            sequence: 4,
            asks: vec![Ask { account, need: 5, ahead: 6 }],
            holdings: vec![holding],
            done: vec![LeaseId::from_uuid(4)],
            delivered_boots: vec!["a".to_owned()],
        }
    }

    #[test]
    fn both_directions_round_trip() {
        assert_eq!(decode_tell(encode_tell(&tell())), Ok(tell()));
        let balance = Balance { limit: 10, posted: 3, leased: 2 };
        let shortage = Shortage { balance, resets_at: Some(Timestamp::from_micros(7)) };
        let grant = Grant {
            lease_id: LeaseId::from_uuid(3),
            granted: 12,
            ttl: Duration::from_secs(60),
            window_start: Timestamp::from_micros(1),
            window_end: None,
            is_scarce: true,
            balance,
        };
        let told = Told {
            answers: vec![
                Answer::Granted(grant),
                Answer::Exhausted(shortage),
                Answer::Pending(Shortage { resets_at: None, ..shortage }),
                Answer::Unknown,
            ],
            standings: vec![Standing {
                lease_id: LeaseId::from_uuid(3),
                is_open: true,
                granted: 12,
                ttl: Duration::from_millis(1),
                is_recalled: true,
            }],
        };
        assert_eq!(decode_told(encode_told(&told)), Ok(told));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |it: v1::TellRequest| decode_tell(it).expect_err("is refused").field;
        let good = || encode_tell(&tell());
        assert_eq!(field(v1::TellRequest { sequence: 0, ..good() }), "sequence");
        assert_eq!(field(v1::TellRequest { boot_id: String::new(), ..good() }), "boot_id");
        let mut large = good();
        large.asks[0].need = u64::MAX;
        assert_eq!(field(large), "asks.need");
        let mut strange = good();
        strange.asks[0].account.as_mut().expect("an account").window = "fortnight".to_owned();
        assert_eq!(field(strange), "asks.account.window");
    }
}
