//! Models as an organization describes them.
//!
//! Nodes are told of them as part of the deployments that serve them, so every change here is one of these deployments, too.

use domain::change::Change;
use domain::model::{ModelFacts, OwnModel, Quantization};
use domain::{DeploymentId, ModelId, Permit};
use sqlx::types::Json;

use crate::row::{self, Row, signed, time, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct ModelRow {
    id: String,
    organization_id: String,
    provider: String,
    upstream_model: String,
    facts: Json<ModelFacts>,
    quantization: Option<String>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl ModelRow {
    fn read(self) -> Result<OwnModel> {
        let row = Row { table: "models", id: &self.id };
        Ok(OwnModel {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            provider: self.provider,
            upstream_model: self.upstream_model,
            facts: self.facts.0,
            quantization: match self.quantization.as_deref() {
                None => None,
                Some(text) => Some(Quantization::find(text).ok_or_else(|| row.corrupt("quantization"))?),
            },
            version: unsigned(self.version),
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
        })
    }
}

/// Adds a description. Errors: `Conflict(Model)` when the organization describes the model already.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, model: &OwnModel) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO models (organization_id, id, provider, upstream_model, facts, quantization, version, created_at,
                             updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(model.organization_id.to_string())
    .bind(model.id.to_string())
    .bind(&model.provider)
    .bind(&model.upstream_model)
    .bind(Json(&model.facts))
    .bind(model.quantization.map(Quantization::as_str))
    .bind(signed(model.version))
    .bind(model.created_at.as_micros())
    .bind(model.updated_at.as_micros())
    .execute(tx.conn())
    .await?;
    touch_deployments(tx, model).await
}

/// Writes facts over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, model: &OwnModel) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE models SET facts = $4, quantization = $5, updated_at = $6, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3",
    )
    .bind(tx.org())
    .bind(model.id.to_string())
    .bind(signed(model.version))
    .bind(Json(&model.facts))
    .bind(model.quantization.map(Quantization::as_str))
    .bind(model.updated_at.as_micros())
    .execute(tx.conn())
    .await?
    .current("model")?;
    touch_deployments(tx, model).await?;
    Ok(model.version + 1)
}

/// Forgets a description; what the catalog has of the model holds again. Errors: `NotFound`.
pub async fn delete(tx: &mut WriteTx, permit: &Permit, model: &OwnModel) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("DELETE FROM models WHERE organization_id = $1 AND id = $2")
        .bind(tx.org())
        .bind(model.id.to_string())
        .execute(tx.conn())
        .await?
        .exactly(1, "model")?;
    touch_deployments(tx, model).await
}

/// Marks the deployments that serve the model, under its own name or with it as base model.
async fn touch_deployments(tx: &mut WriteTx, model: &OwnModel) -> Result<()> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM deployments
          WHERE organization_id = $1 AND archived_at IS NULL
            AND (provider = $2 AND upstream_model = $3 OR base_model = $4)
          ORDER BY id",
    )
    .bind(tx.org())
    .bind(&model.provider)
    .bind(&model.upstream_model)
    .bind(format!("{}/{}", model.provider, model.upstream_model))
    .fetch_all(tx.conn())
    .await?;
    for id in ids {
        let id: DeploymentId = Row { table: "deployments", id: &id }.parse("id", &id)?;
        tx.changed(Change::Deployment(id));
    }
    Ok(())
}

/// Counts the descriptions of the organization.
pub async fn count(tx: &mut Tx) -> Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM models WHERE organization_id = $1")
        .bind(tx.org())
        .fetch_one(tx.conn())
        .await?;
    Ok(unsigned(count))
}

/// Returns a description.
pub async fn get(tx: &mut Tx, id: ModelId) -> Result<OwnModel> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("model"))
}

/// Finds the description of a model by the provider and its name there.
pub async fn find(tx: &mut Tx, provider: &str, upstream_model: &str) -> Result<Option<OwnModel>> {
    let row: Option<ModelRow> = sqlx::query_as(
        "SELECT id, organization_id, provider, upstream_model, facts, quantization, version, created_at, updated_at
           FROM models WHERE organization_id = $1 AND provider = $2 AND upstream_model = $3",
    )
    .bind(tx.org())
    .bind(provider)
    .bind(upstream_model)
    .fetch_optional(tx.conn())
    .await?;
    row.map(ModelRow::read).transpose()
}

/// Loads all descriptions, or those of the given ids.
pub async fn load(tx: &mut Tx, ids: Option<&[ModelId]>) -> Result<Vec<OwnModel>> {
    let rows: Vec<ModelRow> = sqlx::query_as(
        "SELECT id, organization_id, provider, upstream_model, facts, quantization, version, created_at, updated_at
           FROM models WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(ModelRow::read).collect()
}
