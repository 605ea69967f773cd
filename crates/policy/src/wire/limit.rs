//! Rate limits and kill switches as resources: [`RateLimit`], [`KillSwitch`] ⇄ messages.

use domain::kill_switch::{Target, TargetKind};
use domain::rate_limit::{self, Measure, Per, Rate, is_rate};
use proto::v1;

use super::budget::{self, MAX_NAME};
use super::{Reason, WireError, bounded, id, wrong};
use crate::resource::{KillSwitch, RateLimit};

pub(super) fn decode(it: v1::RateLimit) -> Result<RateLimit, WireError> {
    let workspace = if it.workspace_id.is_empty() { None } else { Some(id("workspace_id", &it.workspace_id)?) };
    if it.rates.is_empty() || it.rates.len() > rate_limit::RateLimit::MAX_RATES {
        return Err(wrong("rates", Reason::OutOfBounds));
    }
    if it.group_by.len() > rate_limit::RateLimit::MAX_DIMENSIONS {
        return Err(wrong("group_by", Reason::OutOfBounds));
    }
    let rates = it.rates.iter().map(rate).collect::<Result<Vec<_>, _>>()?;
    let is_same = |one: &Rate, other: &Rate| (one.measure, one.per) == (other.measure, other.per);
    if (1..rates.len()).any(|at| rates[..at].iter().any(|other| is_same(other, &rates[at]))) {
        return Err(wrong("rates", Reason::OutOfBounds));
    }
    Ok(RateLimit {
        id: id("id", &it.id)?,
        workspace,
        name: bounded("name", it.name, MAX_NAME)?,
        // Absent it would be a limit of everything, which no control plane says by accident.
        subject: budget::subject(it.subject.ok_or(wrong("subject", Reason::Missing))?)?,
        group_by: it.group_by.iter().map(|text| budget::dimension(text)).collect::<Result<_, _>>()?,
        rates,
    })
}

fn rate(it: &v1::Rate) -> Result<Rate, WireError> {
    let per = match it.per.as_str() {
        "" => None,
        text => Some(Per::find(text).ok_or(wrong("rates.per", Reason::Unknown))?),
    };
    let measure = Measure::find(&it.measure).ok_or(wrong("rates.measure", Reason::Unknown))?;
    let rate = Rate { measure, per, amount: it.amount };
    if is_rate(&rate) { Ok(rate) } else { Err(wrong("rates", Reason::OutOfBounds)) }
}

pub(super) fn encode(it: &RateLimit) -> v1::RateLimit {
    let rate = |rate: &Rate| v1::Rate {
        measure: rate.measure.to_string(),
        per: rate.per.map(|per| per.to_string()).unwrap_or_default(),
        amount: rate.amount,
    };
    v1::RateLimit {
        id: it.id.to_string(),
        workspace_id: it.workspace.map_or_else(String::new, |id| id.to_string()),
        name: it.name.clone(),
        subject: Some(budget::subject_message(&it.subject)),
        group_by: it.group_by.iter().map(ToString::to_string).collect(),
        rates: it.rates.iter().map(rate).collect(),
    }
}

pub(super) fn decode_switch(it: &v1::KillSwitch) -> Result<KillSwitch, WireError> {
    let kind = TargetKind::find(&it.target_kind).ok_or(wrong("target_kind", Reason::Unknown))?;
    let target = Target::read(kind, &it.target_id).map_err(|_| wrong("target_id", Reason::Malformed))?;
    Ok(KillSwitch { id: id("id", &it.id)?, target, is_cutting: it.is_cutting })
}

pub(super) fn encode_switch(it: &KillSwitch) -> v1::KillSwitch {
    v1::KillSwitch {
        id: it.id.to_string(),
        target_kind: it.target.kind().to_string(),
        target_id: it.target.id_text(),
        is_cutting: it.is_cutting,
    }
}

#[cfg(test)]
mod tests {
    use domain::budget::{Dimension, Subject};
    use domain::{KillSwitchId, OrganizationId, RateLimitId, WorkspaceId};

    use super::*;
    use crate::resource::Content;

    fn limit() -> RateLimit {
        RateLimit {
            id: RateLimitId::from_uuid(1),
            workspace: Some(WorkspaceId::from_uuid(2)),
            name: "Fair use".to_owned(),
            subject: Subject { tags: vec!["x".to_owned()], ..Subject::default() },
            group_by: vec![Dimension::EndUser],
            rates: vec![
                Rate { measure: Measure::Requests, per: Some(Per::Minute), amount: 60 },
                Rate { measure: Measure::Concurrent, per: None, amount: 4 },
            ],
        }
    }

    #[test]
    fn both_round_trip_as_resources_of_their_organization() {
        let switch = KillSwitch {
            id: KillSwitchId::from_uuid(3),
            target: Target::Provider("openai".to_owned()),
            is_cutting: true,
        };
        for content in [Content::RateLimit(limit()), Content::KillSwitch(switch)] {
            let resource = super::super::encode(OrganizationId::from_uuid(9), &content);
            assert_eq!(resource.workspace, None);
            assert_eq!(super::super::decode(&resource), Ok(content));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |it: v1::RateLimit| decode(it).expect_err("is refused").field;
        let good = encode(&limit());
        assert_eq!(field(v1::RateLimit { subject: None, ..good.clone() }), "subject");
        assert_eq!(field(v1::RateLimit { rates: vec![], ..good.clone() }), "rates");
        let rate = |per: &str, amount| v1::Rate { measure: "requests".to_owned(), per: per.to_owned(), amount };
        assert_eq!(field(v1::RateLimit { rates: vec![rate("moon", 1)], ..good.clone() }), "rates.per");
        assert_eq!(field(v1::RateLimit { rates: vec![rate("", 1)], ..good.clone() }), "rates");
        assert_eq!(field(v1::RateLimit { rates: vec![rate("day", 0)], ..good.clone() }), "rates");
        assert_eq!(field(v1::RateLimit { rates: vec![rate("day", 1), rate("day", 2)], ..good }), "rates");
        let switch = v1::KillSwitch {
            id: KillSwitchId::from_uuid(1).to_string(),
            target_kind: "workspace".to_owned(),
            target_id: "nowhere".to_owned(),
            is_cutting: false,
        };
        assert_eq!(decode_switch(&switch).expect_err("is refused").field, "target_id");
    }
}
