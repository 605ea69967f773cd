//! What groups of calls counted and cost in a span of hours: from hourly sums where these keep what is asked for, from events
//! themselves, one day of them at a time, where they do not.
//!
//! Invariant: over the same hours both say the same, adjustments included, as long as the events of those days are kept.

use domain::usage::{TokenUsage, UnitUsage};
use domain::{NanoUsd, Timestamp};

use crate::row::unsigned;
use crate::{Result, Tx};

/// What calls may be grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The workspace.
    Workspace,
    /// The environment.
    Environment,
    /// The virtual key.
    VirtualKey,
    /// The model, as clients asked for it.
    Model,
    /// The provider that answered; empty when none did.
    Provider,
    /// The deployment that answered; empty when none did.
    Deployment,
    /// The route that was taken; empty for none.
    Route,
    /// Whom the client called for; empty for nobody.
    EndUser,
    /// All tags of a call, sorted, with commas between; empty for none.
    Tags,
    /// The value of a pair of the call's metadata; empty for none.
    Metadata(String),
}

impl By {
    /// Says whether hourly sums know it.
    #[must_use]
    pub const fn is_in_sums(&self) -> bool {
        matches!(
            self,
            Self::Workspace | Self::Environment | Self::VirtualKey | Self::Model | Self::Provider | Self::Deployment
        )
    }
}

/// Whole hours, grouped.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// From this hour on.
    pub from: Timestamp,
    /// Hours that begin before this.
    pub to: Timestamp,
    /// One group for each combination; one of everything without.
    pub by: &'a [By],
    /// At most this many groups.
    pub limit: u32,
}

impl Span<'_> {
    fn has(&self, by: &By) -> bool {
        self.by.contains(by)
    }

    fn names(&self) -> Vec<String> {
        let name = |by: &By| if let By::Metadata(name) = by { Some(name.clone()) } else { None };
        self.by.iter().filter_map(name).collect()
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The values, in the order asked; ids as text.
    pub values: Vec<String>,
    /// Calls.
    pub requests: u64,
    /// Tokens read, cached or not.
    pub input: u64,
    /// Of these: from a cache of the provider.
    pub cached_input: u64,
    /// Tokens written.
    pub output: u64,
    /// Cost, adjustments included.
    pub cost: NanoUsd,
}

#[derive(sqlx::FromRow)]
struct GroupRow {
    workspace_id: String,
    environment_id: String,
    virtual_key_id: String,
    model: String,
    provider: String,
    deployment_id: String,
    #[sqlx(default)]
    route_id: String,
    #[sqlx(default)]
    end_user: String,
    #[sqlx(default)]
    tags: String,
    #[sqlx(default)]
    metadata: Vec<String>,
    requests: i64,
    input: i64,
    cached_input: i64,
    output: i64,
    cost_nanos: i64,
}

impl GroupRow {
    fn read(self, by: &[By]) -> Reported {
        let mut metadata = self.metadata.into_iter();
        let value = |by: &By| match by {
            By::Workspace => self.workspace_id.clone(),
            By::Environment => self.environment_id.clone(),
            By::VirtualKey => self.virtual_key_id.clone(),
            By::Model => self.model.clone(),
            By::Provider => self.provider.clone(),
            By::Deployment => self.deployment_id.clone(),
            By::Route => self.route_id.clone(),
            By::EndUser => self.end_user.clone(),
            By::Tags => self.tags.clone(),
            By::Metadata(_) => metadata.next().unwrap_or_default(),
        };
        Reported {
            values: by.iter().map(value).collect(),
            requests: unsigned(self.requests),
            input: unsigned(self.input),
            cached_input: unsigned(self.cached_input),
            output: unsigned(self.output),
            cost: NanoUsd::from_nanos(self.cost_nanos),
        }
    }
}

/// Sums hours, grouped by what hourly sums know; what they do not know counts as empty.
pub async fn report_sums(tx: &mut Tx, span: Span<'_>) -> Result<Vec<Reported>> {
    let rows: Vec<GroupRow> = sqlx::query_as(
        "SELECT CASE WHEN $4 THEN workspace_id ELSE '' END AS workspace_id,
                CASE WHEN $5 THEN environment_id ELSE '' END AS environment_id,
                CASE WHEN $6 THEN virtual_key_id ELSE '' END AS virtual_key_id,
                CASE WHEN $7 THEN model ELSE '' END AS model, CASE WHEN $8 THEN provider ELSE '' END AS provider,
                CASE WHEN $9 THEN deployment_id ELSE '' END AS deployment_id, sum(requests)::bigint AS requests,
                sum(input + cached_input + cache_write_5m + cache_write_1h)::bigint AS input,
                sum(cached_input)::bigint AS cached_input, sum(output)::bigint AS output, sum(cost_nanos)::bigint AS cost_nanos
           FROM usage_rollups WHERE organization_id = $1 AND hour_at >= $2 AND hour_at < $3
          GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6 LIMIT $10",
    )
    .bind(tx.org())
    .bind(span.from.as_micros())
    .bind(span.to.as_micros())
    .bind(span.has(&By::Workspace))
    .bind(span.has(&By::Environment))
    .bind(span.has(&By::VirtualKey))
    .bind(span.has(&By::Model))
    .bind(span.has(&By::Provider))
    .bind(span.has(&By::Deployment))
    .bind(i64::from(span.limit))
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.read(span.by)).collect())
}

/// Sums the events of one day of ids, of calls that began in the hours of the span. A call of one day may have an id of another:
/// see [`report_days`].
pub async fn report_events(tx: &mut Tx, span: Span<'_>, day: i32) -> Result<Vec<Reported>> {
    let rows: Vec<GroupRow> = sqlx::query_as(
        "SELECT CASE WHEN $5 THEN e.workspace_id ELSE '' END AS workspace_id,
                CASE WHEN $6 THEN e.environment_id ELSE '' END AS environment_id,
                CASE WHEN $7 THEN e.virtual_key_id ELSE '' END AS virtual_key_id,
                CASE WHEN $8 THEN e.model ELSE '' END AS model,
                CASE WHEN $9 THEN coalesce(e.provider, '') ELSE '' END AS provider,
                CASE WHEN $10 THEN coalesce(e.deployment_id, '') ELSE '' END AS deployment_id,
                CASE WHEN $11 THEN coalesce(e.route_id, '') ELSE '' END AS route_id,
                CASE WHEN $12 THEN coalesce(e.end_user, '') ELSE '' END AS end_user,
                CASE WHEN $13 THEN coalesce((SELECT string_agg(tag, ',' ORDER BY tag)
                                               FROM jsonb_array_elements_text(e.tags) AS tag), '') ELSE '' END AS tags,
                ARRAY(SELECT coalesce((SELECT pair ->> 1 FROM jsonb_array_elements(e.metadata) AS pair
                                        WHERE pair ->> 0 = wanted.name LIMIT 1), '')
                        FROM unnest($14::text[]) WITH ORDINALITY AS wanted (name, place) ORDER BY wanted.place) AS metadata,
                count(*) AS requests, sum(e.input + e.cached_input + e.cache_write_5m + e.cache_write_1h)::bigint AS input,
                sum(e.cached_input)::bigint AS cached_input, sum(e.output)::bigint AS output,
                sum(e.cost_nanos + coalesce(p.adjusted, 0))::bigint AS cost_nanos
           FROM usage_events AS e
           LEFT JOIN (SELECT event_id, sum(CASE WHEN debit LIKE 'spend/%' THEN amount_nanos ELSE -amount_nanos END) AS adjusted
                        FROM ledger_postings WHERE organization_id = $1 AND day = $2 AND kind = 'adjust' GROUP BY event_id) AS p
             ON p.event_id = e.id
          WHERE e.organization_id = $1 AND e.day = $2 AND e.started_at >= $3 AND e.started_at < $4
          GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 LIMIT $15",
    )
    .bind(tx.org())
    .bind(day)
    .bind(span.from.as_micros())
    .bind(span.to.as_micros())
    .bind(span.has(&By::Workspace))
    .bind(span.has(&By::Environment))
    .bind(span.has(&By::VirtualKey))
    .bind(span.has(&By::Model))
    .bind(span.has(&By::Provider))
    .bind(span.has(&By::Deployment))
    .bind(span.has(&By::Route))
    .bind(span.has(&By::EndUser))
    .bind(span.has(&By::Tags))
    .bind(span.names())
    .bind(i64::from(span.limit))
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.read(span.by)).collect())
}

/// Returns the days of ids that calls of a span may have: an id is minted when its call arrives, two days apart at the very most.
#[must_use]
pub fn report_days(span: Span<'_>) -> std::ops::RangeInclusive<i32> {
    super::day(span.from) - 2..=super::day(span.to) + 2
}

/// What calls that a deployment answered used, by kind, and cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitSums {
    /// The deployment, as text; empty for calls that none answered.
    pub deployment_id: String,
    /// Calls.
    pub requests: u64,
    /// Tokens by kind.
    pub tokens: TokenUsage,
    /// What was counted beside tokens.
    pub units: UnitUsage,
    /// Cost, adjustments included.
    pub cost: NanoUsd,
}

impl UnitSums {
    /// Adds what others used and cost.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.tokens = self.tokens.plus(other.tokens);
        self.units = self.units.plus(other.units);
        self.cost = self.cost.saturating_add(other.cost);
    }
}

#[derive(sqlx::FromRow)]
struct UnitRow {
    deployment_id: String,
    requests: i64,
    input: i64,
    cached_input: i64,
    cache_write_5m: i64,
    cache_write_1h: i64,
    output: i64,
    reasoning: i64,
    images: i64,
    audio_ms: i64,
    characters: i64,
    searches: i64,
    pages: i64,
    cost_nanos: i64,
}

/// Sums whole hours by deployment, every kind of unit apart.
pub async fn unit_sums(tx: &mut Tx, from: Timestamp, to: Timestamp) -> Result<Vec<UnitSums>> {
    let rows: Vec<UnitRow> = sqlx::query_as(
        "SELECT deployment_id, sum(requests)::bigint AS requests, sum(input)::bigint AS input, sum(cached_input)::bigint AS cached_input,
                sum(cache_write_5m)::bigint AS cache_write_5m, sum(cache_write_1h)::bigint AS cache_write_1h,
                sum(output)::bigint AS output, sum(reasoning)::bigint AS reasoning, sum(images)::bigint AS images,
                sum(audio_ms)::bigint AS audio_ms, sum(characters)::bigint AS characters, sum(searches)::bigint AS searches,
                sum(pages)::bigint AS pages, sum(cost_nanos)::bigint AS cost_nanos
           FROM usage_rollups WHERE organization_id = $1 AND hour_at >= $2 AND hour_at < $3 GROUP BY 1 ORDER BY 1",
    )
    .bind(tx.org())
    .bind(from.as_micros())
    .bind(to.as_micros())
    .fetch_all(tx.conn())
    .await?;
    let read = |it: UnitRow| UnitSums {
        deployment_id: it.deployment_id,
        requests: unsigned(it.requests),
        tokens: TokenUsage {
            input: unsigned(it.input),
            cached_input: unsigned(it.cached_input),
            cache_write_5m: unsigned(it.cache_write_5m),
            cache_write_1h: unsigned(it.cache_write_1h),
            output: unsigned(it.output),
            reasoning: unsigned(it.reasoning),
        },
        units: UnitUsage {
            images: unsigned(it.images),
            audio_ms: unsigned(it.audio_ms),
            characters: unsigned(it.characters),
            searches: unsigned(it.searches),
            pages: unsigned(it.pages),
        },
        cost: NanoUsd::from_nanos(it.cost_nanos),
    };
    Ok(rows.into_iter().map(read).collect())
}
