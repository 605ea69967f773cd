//! Virtual keys with their current secret and, during a rotation, the one that retires. Only MACs are stored.

use domain::change::Change;
use domain::page::{Cursor, Limit, Page};
use domain::secret::{Kid, RevocationCause, TokenMac};
use domain::virtual_key::{KeySecret, VirtualKey};
use domain::{EnvironmentId, OrganizationId, Permit, Timestamp, VirtualKeyId, WorkspaceId};

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: String,
    organization_id: String,
    workspace_id: String,
    environment_id: String,
    name: String,
    kid: String,
    mac: Vec<u8>,
    pepper_version: i32,
    issued_at: i64,
    retiring_mac: Option<Vec<u8>>,
    retiring_pepper_version: Option<i32>,
    retiring_issued_at: Option<i64>,
    retires_at: Option<i64>,
    allowed_models: Vec<String>,
    created_by: Option<String>,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    revoked_because: Option<String>,
    last_used_at: Option<i64>,
    old_secret_used_at: Option<i64>,
    version: i64,
    created_at: i64,
}

impl KeyRow {
    fn secrets(&self, row: &Row<'_>) -> Result<Vec<KeySecret>> {
        let mut secrets = vec![KeySecret {
            mac: row.mac("mac", &self.mac)?,
            pepper_version: row.small("pepper_version", self.pepper_version)?,
            issued_at: time(self.issued_at),
            retires_at: None,
        }];
        if let (Some(mac), Some(pepper), Some(issued_at)) =
            (&self.retiring_mac, self.retiring_pepper_version, self.retiring_issued_at)
        {
            secrets.push(KeySecret {
                mac: row.mac("retiring_mac", mac)?,
                pepper_version: row.small("retiring_pepper_version", pepper)?,
                issued_at: time(issued_at),
                retires_at: time_opt(self.retires_at),
            });
        }
        Ok(secrets)
    }

    fn read(self) -> Result<VirtualKey> {
        let row = Row { table: "virtual_keys", id: &self.id };
        let models = self.allowed_models.iter().map(|text| row.parse("allowed_models", text));
        Ok(VirtualKey {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse("workspace_id", &self.workspace_id)?,
            environment_id: row.parse("environment_id", &self.environment_id)?,
            name: row.parse("name", &self.name)?,
            kid: Kid::parse(&self.kid).ok_or_else(|| row.corrupt("kid"))?,
            secrets: self.secrets(&row)?,
            allowed_models: models.collect::<Result<_>>()?,
            created_by: row.parse_opt("created_by", self.created_by.as_deref())?,
            expires_at: time_opt(self.expires_at),
            revoked_at: time_opt(self.revoked_at),
            revoked_because: row::cause(&row, self.revoked_because.as_deref())?,
            last_used_at: time_opt(self.last_used_at),
            old_secret_used_at: time_opt(self.old_secret_used_at),
            version: unsigned(self.version),
            created_at: time(self.created_at),
        })
    }
}

/// The columns of the two secrets, as they are bound.
struct Secrets<'a> {
    current: &'a KeySecret,
    retiring: Option<(&'a KeySecret, Timestamp)>,
}

impl<'a> Secrets<'a> {
    fn of(key: &'a VirtualKey) -> Result<Self> {
        let current = key.secrets.first().ok_or(StoreError::Range("a virtual key without a secret"))?;
        let retiring = key.secrets.get(1).and_then(|secret| Some((secret, secret.retires_at?)));
        Ok(Self { current, retiring })
    }
}

/// Adds a key. Errors: `Conflict(Kid)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, key: &VirtualKey) -> Result<()> {
    tx.spend(permit)?;
    let secret = Secrets::of(key)?.current;
    let models: Vec<String> = key.allowed_models.iter().map(ToString::to_string).collect();
    sqlx::query(
        "INSERT INTO virtual_keys (organization_id, id, workspace_id, environment_id, name, kid, mac, pepper_version,
                                   issued_at, allowed_models, created_by, expires_at, version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(key.organization_id.to_string())
    .bind(key.id.to_string())
    .bind(key.workspace_id.to_string())
    .bind(key.environment_id.to_string())
    .bind(key.name.as_str())
    .bind(key.kid.as_str())
    .bind(secret.mac.as_bytes().as_slice())
    .bind(i32::from(secret.pepper_version))
    .bind(secret.issued_at.as_micros())
    .bind(models)
    .bind(key.created_by.map(|id| id.to_string()))
    .bind(row::micros(key.expires_at))
    .bind(signed(key.version))
    .bind(key.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.changed(Change::VirtualKey(key.id));
    Ok(())
}

/// Returns a key, revoked or not.
pub async fn get(tx: &mut Tx, id: VirtualKeyId) -> Result<VirtualKey> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("virtual key"))
}

/// A key that a public id may belong to, with what a presented secret is compared with.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The key.
    pub id: VirtualKeyId,
    /// The MACs of its secrets, each with the version of its pepper.
    pub macs: Vec<(TokenMac, u16)>,
}

#[derive(sqlx::FromRow)]
struct CandidateRow {
    organization_id: String,
    id: String,
    mac: Vec<u8>,
    pepper_version: i32,
    retiring_mac: Option<Vec<u8>>,
    retiring_pepper_version: Option<i32>,
}

impl CandidateRow {
    fn read(self) -> Result<Candidate> {
        let row = Row { table: "virtual_keys", id: &self.id };
        let mut macs = vec![(row.mac("mac", &self.mac)?, row.small("pepper_version", self.pepper_version)?)];
        if let (Some(mac), Some(pepper)) = (&self.retiring_mac, self.retiring_pepper_version) {
            macs.push((row.mac("retiring_mac", mac)?, row.small("retiring_pepper_version", pepper)?));
        }
        let organization_id = row.parse("organization_id", &self.organization_id)?;
        Ok(Candidate { organization_id, id: row.parse("id", &self.id)?, macs })
    }
}

/// Looks keys up by their public id over all organizations, within which ids are unique; the caller compares the secret.
pub async fn find_by_kid(tx: &mut SystemTx, kid: Kid) -> Result<Vec<Candidate>> {
    let rows: Vec<CandidateRow> = sqlx::query_as(
        "SELECT organization_id, id, mac, pepper_version, retiring_mac, retiring_pepper_version FROM virtual_keys
          WHERE kid = $1",
    )
    .bind(kid.as_str())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(CandidateRow::read).collect()
}

/// Lists the keys of a workspace, and of one environment if given, newest first, revoked ones included.
pub async fn list(
    tx: &mut Tx,
    workspace_id: WorkspaceId,
    environment_id: Option<EnvironmentId>,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<VirtualKey>> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT k.id, k.organization_id, k.workspace_id, k.environment_id, k.name, k.kid, k.mac, k.pepper_version, k.issued_at,
                k.retiring_mac, k.retiring_pepper_version, k.retiring_issued_at, k.retires_at, k.allowed_models, k.created_by,
                k.expires_at, k.revoked_at, k.revoked_because, u.last_used_at, u.old_secret_used_at, k.version, k.created_at
           FROM virtual_keys k
           LEFT JOIN virtual_key_uses u ON u.organization_id = k.organization_id AND u.virtual_key_id = k.id
          WHERE k.organization_id = $1 AND k.workspace_id = $2 AND ($3::text IS NULL OR k.environment_id = $3)
            AND ($4::text IS NULL OR k.id < $4)
          ORDER BY k.id DESC LIMIT $5",
    )
    .bind(tx.org())
    .bind(workspace_id.to_string())
    .bind(environment_id.map(|id| id.to_string()))
    .bind(row::after::<VirtualKeyId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, KeyRow::read, |key| key.id.to_string())
}

/// Loads all keys, or those of the given ids, revoked ones included.
pub async fn load(tx: &mut Tx, ids: Option<&[VirtualKeyId]>) -> Result<Vec<VirtualKey>> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT k.id, k.organization_id, k.workspace_id, k.environment_id, k.name, k.kid, k.mac, k.pepper_version, k.issued_at,
                k.retiring_mac, k.retiring_pepper_version, k.retiring_issued_at, k.retires_at, k.allowed_models, k.created_by,
                k.expires_at, k.revoked_at, k.revoked_because, u.last_used_at, u.old_secret_used_at, k.version, k.created_at
           FROM virtual_keys k
           LEFT JOIN virtual_key_uses u ON u.organization_id = k.organization_id AND u.virtual_key_id = k.id
          WHERE k.organization_id = $1 AND ($2::text[] IS NULL OR k.id = ANY($2)) ORDER BY k.id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(KeyRow::read).collect()
}

/// Writes name, models, expiry and secrets (a rotation) over the version that was read, and returns the new version.
///
/// Errors: `Stale` also when the key has been revoked: a revoked key never changes again.
pub async fn update(tx: &mut WriteTx, permit: &Permit, key: &VirtualKey) -> Result<u64> {
    tx.spend(permit)?;
    let secrets = Secrets::of(key)?;
    let models: Vec<String> = key.allowed_models.iter().map(ToString::to_string).collect();
    sqlx::query(
        "UPDATE virtual_keys
            SET name = $4, allowed_models = $5, expires_at = $6, mac = $7, pepper_version = $8, issued_at = $9,
                retiring_mac = $10, retiring_pepper_version = $11, retiring_issued_at = $12, retires_at = $13,
                version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3 AND revoked_at IS NULL",
    )
    .bind(tx.org())
    .bind(key.id.to_string())
    .bind(signed(key.version))
    .bind(key.name.as_str())
    .bind(models)
    .bind(row::micros(key.expires_at))
    .bind(secrets.current.mac.as_bytes().as_slice())
    .bind(i32::from(secrets.current.pepper_version))
    .bind(secrets.current.issued_at.as_micros())
    .bind(secrets.retiring.map(|(secret, _)| secret.mac.as_bytes().as_slice()))
    .bind(secrets.retiring.map(|(secret, _)| i32::from(secret.pepper_version)))
    .bind(secrets.retiring.map(|(secret, _)| secret.issued_at.as_micros()))
    .bind(secrets.retiring.map(|(_, at)| at.as_micros()))
    .execute(tx.conn())
    .await?
    .current("virtual key")?;
    tx.changed(Change::VirtualKey(key.id));
    Ok(key.version + 1)
}

/// Revokes a key for ever. Errors: `NotFound` when it is unknown or revoked already.
pub async fn revoke(tx: &mut WriteTx, permit: &Permit, id: VirtualKeyId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE virtual_keys SET revoked_at = $3, revoked_because = $4, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .bind(RevocationCause::by(permit.actor()).map(RevocationCause::as_str))
    .execute(tx.conn())
    .await?
    .exactly(1, "virtual key")?;
    tx.changed(Change::VirtualKey(id));
    Ok(())
}
