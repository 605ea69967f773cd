//! Price versions: facts of their date, added and never changed.

use domain::change::Change;
use domain::image::ImageRate;
use domain::page::{Cursor, Limit, Page};
use domain::price::{LongContextRates, PriceSource, PriceVersion, Rates, TierRates};
use domain::{Permit, PriceId};
use sqlx::types::Json;

use crate::row::{self, Row, time};
use crate::{Result, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct PriceRow {
    id: String,
    organization_id: String,
    provider: String,
    upstream_model: String,
    effective_at: i64,
    source: String,
    rates: Json<Rates>,
    long_context: Json<Vec<LongContextRates>>,
    tiers: Json<Vec<TierRates>>,
    images: Json<Vec<ImageRate>>,
    created_at: i64,
}

impl PriceRow {
    fn read(self) -> Result<PriceVersion> {
        let row = Row { table: "prices", id: &self.id };
        Ok(PriceVersion {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            provider: self.provider,
            upstream_model: self.upstream_model,
            effective_at: time(self.effective_at),
            source: match self.source.as_str() {
                "catalog" => PriceSource::Catalog,
                "own" => PriceSource::Own,
                _ => return Err(row.corrupt("source")),
            },
            rates: self.rates.0,
            long_context: self.long_context.0,
            tiers: self.tiers.0,
            images: self.images.0,
            created_at: time(self.created_at),
        })
    }
}

/// Adds a price version unless the same model, start and source has one already; returns whether it was added.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, price: &PriceVersion) -> Result<bool> {
    tx.spend(permit)?;
    let done = sqlx::query(
        "INSERT INTO prices (organization_id, id, provider, upstream_model, effective_at, source, rates, long_context,
                             created_at, tiers, images)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT ON CONSTRAINT prices_key DO NOTHING",
    )
    .bind(price.organization_id.to_string())
    .bind(price.id.to_string())
    .bind(&price.provider)
    .bind(&price.upstream_model)
    .bind(price.effective_at.as_micros())
    .bind(match price.source {
        PriceSource::Catalog => "catalog",
        PriceSource::Own => "own",
    })
    .bind(Json(&price.rates))
    .bind(Json(&price.long_context))
    .bind(price.created_at.as_micros())
    .bind(Json(&price.tiers))
    .bind(Json(&price.images))
    .execute(tx.conn())
    .await?;
    let is_new = done.rows_affected() == 1;
    if is_new {
        tx.changed(Change::Price(price.id));
    }
    Ok(is_new)
}

/// Lists all price versions, newest first.
pub async fn list(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<PriceVersion>> {
    let rows: Vec<PriceRow> = sqlx::query_as(
        "SELECT id, organization_id, provider, upstream_model, effective_at, source, rates, long_context, created_at, tiers,
                images
           FROM prices WHERE organization_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<PriceId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, PriceRow::read, |price| price.id.to_string())
}

/// Lists the price versions of one model, the newest start first.
pub async fn list_by_model(tx: &mut Tx, provider: &str, upstream_model: &str) -> Result<Vec<PriceVersion>> {
    let rows: Vec<PriceRow> = sqlx::query_as(
        "SELECT id, organization_id, provider, upstream_model, effective_at, source, rates, long_context, created_at, tiers,
                images
           FROM prices WHERE organization_id = $1 AND provider = $2 AND upstream_model = $3
          ORDER BY effective_at DESC, source",
    )
    .bind(tx.org())
    .bind(provider)
    .bind(upstream_model)
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(PriceRow::read).collect()
}

/// Loads all price versions, or those of the given ids.
pub async fn load(tx: &mut Tx, ids: Option<&[PriceId]>) -> Result<Vec<PriceVersion>> {
    let rows: Vec<PriceRow> = sqlx::query_as(
        "SELECT id, organization_id, provider, upstream_model, effective_at, source, rates, long_context, created_at, tiers,
                images
           FROM prices WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(PriceRow::read).collect()
}
