//! A usage event as a row: the same struct is written (as an array for each column of a batch) and read.

use domain::Timestamp;
use domain::budget::Charge;
use domain::usage::{
    AttemptRecord, CacheOutcome, CacheUse, Endpoint, Outcome, Routing, TokenUsage, UnitUsage, UsageEvent,
};
use domain::{NanoUsd, RequestId};
use sqlx::types::Json;

use crate::row::{Row, signed, time, unsigned};
use crate::{Result, StoreError};

/// The day inside an event's id, in days since 1970: its partition.
pub(crate) fn day_of(id: RequestId) -> i32 {
    day(id.minted_at())
}

pub(crate) fn day(at: Timestamp) -> i32 {
    i32::try_from(at.as_secs().div_euclid(86_400)).unwrap_or(i32::MAX)
}

#[derive(sqlx::FromRow)]
pub(super) struct EventRow {
    pub(super) organization_id: String,
    pub(super) day: i32,
    pub(super) id: String,
    workspace_id: String,
    environment_id: String,
    virtual_key_id: String,
    node_id: String,
    endpoint: String,
    model: String,
    route_id: Option<String>,
    deployment_id: Option<String>,
    provider: Option<String>,
    upstream_model: Option<String>,
    is_stream: bool,
    outcome: String,
    status: i32,
    code: Option<String>,
    finish_reason: Option<String>,
    started_at: i64,
    duration_us: i64,
    first_byte_us: Option<i64>,
    overhead_us: i64,
    input: i64,
    cached_input: i64,
    cache_write_5m: i64,
    cache_write_1h: i64,
    output: i64,
    reasoning: i64,
    is_estimated: bool,
    cost_nanos: i64,
    price_id: Option<String>,
    policy_revision: i64,
    end_user: Option<String>,
    conversation_id: Option<String>,
    trace_id: Option<String>,
    metadata: Json<Vec<(String, String)>>,
    routing: Option<Json<Routing>>,
    tags: Json<Vec<String>>,
    dropped: Json<Vec<String>>,
    attempts: Json<Vec<AttemptRecord>>,
    cache: String,
    saved_input: i64,
    saved_output: i64,
    saved_cost_nanos: i64,
    received_at: i64,
    images: i64,
    audio_ms: i64,
    characters: i64,
    searches: i64,
    pages: i64,
    is_unmetered: bool,
    charges: Option<Json<Vec<Charge>>>,
}

impl EventRow {
    pub(super) fn new(event: &UsageEvent, received_at: Timestamp) -> Self {
        Self {
            organization_id: event.organization_id.to_string(),
            day: day_of(event.id),
            id: event.id.to_string(),
            workspace_id: event.workspace_id.to_string(),
            environment_id: event.environment_id.to_string(),
            virtual_key_id: event.virtual_key_id.to_string(),
            node_id: event.node_id.to_string(),
            endpoint: event.endpoint.as_str().to_owned(),
            model: event.model.clone(),
            route_id: event.route_id.map(|id| id.to_string()),
            deployment_id: event.deployment_id.map(|id| id.to_string()),
            provider: event.provider.clone(),
            upstream_model: event.upstream_model.clone(),
            is_stream: event.is_stream,
            outcome: event.outcome.as_str().to_owned(),
            status: i32::from(event.status),
            code: event.code.clone(),
            finish_reason: event.finish_reason.clone(),
            started_at: event.started_at.as_micros(),
            duration_us: signed(event.duration_us),
            first_byte_us: event.first_byte_us.map(signed),
            overhead_us: signed(event.overhead_us),
            input: signed(event.usage.input),
            cached_input: signed(event.usage.cached_input),
            cache_write_5m: signed(event.usage.cache_write_5m),
            cache_write_1h: signed(event.usage.cache_write_1h),
            output: signed(event.usage.output),
            reasoning: signed(event.usage.reasoning),
            is_estimated: event.is_estimated,
            cost_nanos: event.cost.as_nanos(),
            price_id: event.price_id.map(|id| id.to_string()),
            policy_revision: signed(event.policy_revision),
            end_user: event.end_user.clone(),
            conversation_id: event.conversation_id.clone(),
            trace_id: event.trace_id.clone(),
            metadata: Json(event.metadata.clone()),
            routing: event.routing.clone().map(Json),
            tags: Json(event.tags.clone()),
            dropped: Json(event.dropped.clone()),
            attempts: Json(event.attempts.clone()),
            cache: event.cache.outcome.as_str().to_owned(),
            saved_input: signed(event.cache.saved_input),
            saved_output: signed(event.cache.saved_output),
            saved_cost_nanos: event.cache.saved_cost.as_nanos(),
            received_at: received_at.as_micros(),
            images: signed(event.units.images),
            audio_ms: signed(event.units.audio_ms),
            characters: signed(event.units.characters),
            searches: signed(event.units.searches),
            pages: signed(event.units.pages),
            is_unmetered: event.is_unmetered,
            charges: (!event.charges.is_empty()).then(|| Json(event.charges.clone())),
        }
    }

    pub(super) fn read(self) -> Result<UsageEvent> {
        let row = Row { table: "usage_events", id: &self.id };
        Ok(UsageEvent {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse("workspace_id", &self.workspace_id)?,
            environment_id: row.parse("environment_id", &self.environment_id)?,
            virtual_key_id: row.parse("virtual_key_id", &self.virtual_key_id)?,
            node_id: row.parse("node_id", &self.node_id)?,
            endpoint: Endpoint::find(&self.endpoint).ok_or_else(|| row.corrupt("endpoint"))?,
            model: self.model,
            route_id: row.parse_opt("route_id", self.route_id.as_deref())?,
            deployment_id: row.parse_opt("deployment_id", self.deployment_id.as_deref())?,
            provider: self.provider,
            upstream_model: self.upstream_model,
            is_stream: self.is_stream,
            outcome: Outcome::find(&self.outcome).ok_or_else(|| row.corrupt("outcome"))?,
            status: row.small("status", self.status)?,
            code: self.code,
            finish_reason: self.finish_reason,
            started_at: time(self.started_at),
            duration_us: unsigned(self.duration_us),
            first_byte_us: self.first_byte_us.map(unsigned),
            overhead_us: unsigned(self.overhead_us),
            usage: TokenUsage {
                input: unsigned(self.input),
                cached_input: unsigned(self.cached_input),
                cache_write_5m: unsigned(self.cache_write_5m),
                cache_write_1h: unsigned(self.cache_write_1h),
                output: unsigned(self.output),
                reasoning: unsigned(self.reasoning),
            },
            units: UnitUsage {
                images: unsigned(self.images),
                audio_ms: unsigned(self.audio_ms),
                characters: unsigned(self.characters),
                searches: unsigned(self.searches),
                pages: unsigned(self.pages),
            },
            is_estimated: self.is_estimated,
            is_unmetered: self.is_unmetered,
            cost: NanoUsd::from_nanos(self.cost_nanos),
            price_id: row.parse_opt("price_id", self.price_id.as_deref())?,
            cache: CacheUse {
                outcome: CacheOutcome::find(&self.cache).ok_or_else(|| row.corrupt("cache"))?,
                saved_input: unsigned(self.saved_input),
                saved_output: unsigned(self.saved_output),
                saved_cost: NanoUsd::from_nanos(self.saved_cost_nanos),
            },
            policy_revision: unsigned(self.policy_revision),
            end_user: self.end_user,
            conversation_id: self.conversation_id,
            trace_id: self.trace_id,
            metadata: self.metadata.0,
            routing: self.routing.map(|routing| routing.0),
            tags: self.tags.0,
            dropped: self.dropped.0,
            attempts: self.attempts.0,
            charges: self.charges.map(|it| it.0).unwrap_or_default(),
            // Kept with the key alone.
            is_by_old_secret: false,
        })
    }
}

/// What a value is as an element of a column. PostgreSQL's text cannot hold U+0000, and one such event must not stop its batch.
trait Element {
    type Column;

    fn element(self) -> Result<Self::Column>;
}

macro_rules! as_it_is {
    ($($type:ty)+) => {$(
        impl Element for $type {
            type Column = Self;

            fn element(self) -> Result<Self> {
                Ok(self)
            }
        }
    )+};
}

as_it_is! { i32 i64 bool Option<i64> }

impl Element for String {
    type Column = Self;

    fn element(self) -> Result<Self> {
        Ok(if self.contains('\0') { self.replace('\0', "\u{fffd}") } else { self })
    }
}

impl<T: serde::Serialize> Element for Json<T> {
    type Column = String;

    fn element(self) -> Result<String> {
        let text = serde_json::to_string(&self.0).map_err(|_| StoreError::Range("an event of usage"))?;
        Ok(if text.contains("\\u0000") { super::append::without_nul(&text) } else { text })
    }
}

impl Element for Option<String> {
    type Column = Self;

    fn element(self) -> Result<Self> {
        self.map(Element::element).transpose()
    }
}

impl<T: serde::Serialize> Element for Option<Json<T>> {
    type Column = Option<String>;

    fn element(self) -> Result<Option<String>> {
        self.map(Element::element).transpose()
    }
}

macro_rules! columns {
    ($($name:ident: $type:ty),+ $(,)?) => {
        /// Rows as arrays, one for each column: a database reads them many times faster than rows that name their columns.
        #[derive(Default)]
        pub(super) struct Columns {
            $(pub(super) $name: Vec<$type>),+
        }

        impl Columns {
            pub(super) fn push(&mut self, row: EventRow) -> Result<()> {
                $(self.$name.push(row.$name.element()?);)+
                Ok(())
            }
        }
    };
}

columns! {
    organization_id: String,
    day: i32,
    id: String,
    workspace_id: String,
    environment_id: String,
    virtual_key_id: String,
    node_id: String,
    endpoint: String,
    model: String,
    route_id: Option<String>,
    deployment_id: Option<String>,
    provider: Option<String>,
    upstream_model: Option<String>,
    is_stream: bool,
    outcome: String,
    status: i32,
    code: Option<String>,
    finish_reason: Option<String>,
    started_at: i64,
    duration_us: i64,
    first_byte_us: Option<i64>,
    overhead_us: i64,
    input: i64,
    cached_input: i64,
    cache_write_5m: i64,
    cache_write_1h: i64,
    output: i64,
    reasoning: i64,
    is_estimated: bool,
    cost_nanos: i64,
    price_id: Option<String>,
    policy_revision: i64,
    end_user: Option<String>,
    conversation_id: Option<String>,
    trace_id: Option<String>,
    metadata: String,
    routing: Option<String>,
    tags: String,
    dropped: String,
    attempts: String,
    cache: String,
    saved_input: i64,
    saved_output: i64,
    saved_cost_nanos: i64,
    received_at: i64,
    images: i64,
    audio_ms: i64,
    characters: i64,
    searches: i64,
    pages: i64,
    is_unmetered: bool,
    charges: Option<String>,
}
