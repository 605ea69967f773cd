//! Access tokens for the management API: listed and revoked inside an organization, looked up by public id before it is known.

use domain::access_token::{AccessToken, OldSecret};
use domain::page::{Cursor, Limit, Page};
use domain::secret::{Kid, RevocationCause, TokenMac};
use domain::{AccessTokenId, Permit, Timestamp, UserId};

use crate::row::{self, Row, time, time_opt};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: String,
    organization_id: String,
    user_id: String,
    name: String,
    kid: String,
    mac: Vec<u8>,
    pepper_version: i32,
    old_mac: Option<Vec<u8>>,
    old_pepper_version: Option<i32>,
    old_retires_at: Option<i64>,
    old_used_at: Option<i64>,
    created_at: i64,
    rotated_at: Option<i64>,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    revoked_because: Option<String>,
    last_used_at: Option<i64>,
}

impl TokenRow {
    fn old_secret(&self, row: &Row<'_>) -> Result<Option<OldSecret>> {
        let (Some(mac), Some(pepper), Some(retires_at)) = (&self.old_mac, self.old_pepper_version, self.old_retires_at)
        else {
            return Ok(None);
        };
        Ok(Some(OldSecret {
            mac: row.mac("old_mac", mac)?,
            pepper_version: row.small("old_pepper_version", pepper)?,
            retires_at: time(retires_at),
            last_used_at: time_opt(self.old_used_at),
        }))
    }

    fn read(self) -> Result<AccessToken> {
        let row = Row { table: "access_tokens", id: &self.id };
        Ok(AccessToken {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            user_id: row.parse("user_id", &self.user_id)?,
            name: row.parse("name", &self.name)?,
            kid: Kid::parse(&self.kid).ok_or_else(|| row.corrupt("kid"))?,
            mac: row.mac("mac", &self.mac)?,
            pepper_version: row.small("pepper_version", self.pepper_version)?,
            old_secret: self.old_secret(&row)?,
            created_at: time(self.created_at),
            rotated_at: time_opt(self.rotated_at),
            expires_at: time_opt(self.expires_at),
            revoked_at: time_opt(self.revoked_at),
            revoked_because: row::cause(&row, self.revoked_because.as_deref())?,
            last_used_at: time_opt(self.last_used_at),
        })
    }
}

/// Adds a token.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, token: &AccessToken) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO access_tokens (organization_id, id, user_id, name, kid, mac, pepper_version, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(token.organization_id.to_string())
    .bind(token.id.to_string())
    .bind(token.user_id.to_string())
    .bind(token.name.as_str())
    .bind(token.kid.as_str())
    .bind(token.mac.as_bytes().as_slice())
    .bind(i32::from(token.pepper_version))
    .bind(token.created_at.as_micros())
    .bind(row::micros(token.expires_at))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Returns a token.
pub async fn get(tx: &mut Tx, id: AccessTokenId) -> Result<AccessToken> {
    let row: Option<TokenRow> = sqlx::query_as(
        "SELECT id, organization_id, user_id, name, kid, mac, pepper_version, old_mac, old_pepper_version, old_retires_at,
                old_used_at, created_at, rotated_at, expires_at, revoked_at, revoked_because, last_used_at
           FROM access_tokens WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("access token"))?.read()
}

/// Lists the tokens of one person, or of all, newest first, revoked ones included.
pub async fn list(
    tx: &mut Tx,
    user_id: Option<UserId>,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<AccessToken>> {
    let rows: Vec<TokenRow> = sqlx::query_as(
        "SELECT id, organization_id, user_id, name, kid, mac, pepper_version, old_mac, old_pepper_version, old_retires_at,
                old_used_at, created_at, rotated_at, expires_at, revoked_at, revoked_because, last_used_at
           FROM access_tokens
          WHERE organization_id = $1 AND ($2::text IS NULL OR user_id = $2) AND ($3::text IS NULL OR id < $3)
          ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(user_id.map(|id| id.to_string()))
    .bind(row::after::<AccessTokenId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, TokenRow::read, |token| token.id.to_string())
}

/// Looks a token up by its public id, over all organizations; the caller compares the secret and judges whether it is live.
pub async fn find_by_kid(tx: &mut SystemTx, kid: Kid) -> Result<Option<AccessToken>> {
    let row: Option<TokenRow> = sqlx::query_as(
        "SELECT id, organization_id, user_id, name, kid, mac, pepper_version, old_mac, old_pepper_version, old_retires_at,
                old_used_at, created_at, rotated_at, expires_at, revoked_at, revoked_because, last_used_at
           FROM access_tokens WHERE kid = $1",
    )
    .bind(kid.as_str())
    .fetch_optional(tx.conn())
    .await?;
    row.map(TokenRow::read).transpose()
}

/// Writes the secrets and the end of a token: a rotation, or the end of the old secret. Errors: `NotFound` when it is unknown or
/// revoked.
pub async fn rotate(tx: &mut WriteTx, permit: &Permit, token: &AccessToken) -> Result<()> {
    tx.spend(permit)?;
    let old = token.old_secret.as_ref();
    sqlx::query(
        "UPDATE access_tokens
            SET mac = $3, pepper_version = $4, rotated_at = $5, expires_at = $6, old_mac = $7, old_pepper_version = $8,
                old_retires_at = $9, old_used_at = $10
          WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL",
    )
    .bind(tx.org())
    .bind(token.id.to_string())
    .bind(token.mac.as_bytes().as_slice())
    .bind(i32::from(token.pepper_version))
    .bind(row::micros(token.rotated_at))
    .bind(row::micros(token.expires_at))
    .bind(old.map(|old| old.mac.as_bytes().as_slice()))
    .bind(old.map(|old| i32::from(old.pepper_version)))
    .bind(old.map(|old| old.retires_at.as_micros()))
    .bind(old.and_then(|old| row::micros(old.last_used_at)))
    .execute(tx.conn())
    .await?
    .exactly(1, "access token")
}

/// Revokes a token for ever. Errors: `NotFound` when it is unknown or revoked already.
pub async fn revoke(tx: &mut WriteTx, permit: &Permit, id: AccessTokenId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE access_tokens SET revoked_at = $3, revoked_because = $4
          WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .bind(RevocationCause::by(permit.actor()).map(RevocationCause::as_str))
    .execute(tx.conn())
    .await?
    .exactly(1, "access token")
}

/// Revokes all tokens of a person in the organization, and returns how many.
pub async fn revoke_all(tx: &mut WriteTx, permit: &Permit, user_id: UserId, at: Timestamp) -> Result<u64> {
    tx.spend(permit)?;
    let done = sqlx::query(
        "UPDATE access_tokens SET revoked_at = $3 WHERE organization_id = $1 AND user_id = $2 AND revoked_at IS NULL",
    )
    .bind(tx.org())
    .bind(user_id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Moves the last use forward, never back, and that of the old secret when it was `old_mac` that was shown.
pub async fn touch(tx: &mut SystemTx, token: &AccessToken, old_mac: Option<&TokenMac>, at: Timestamp) -> Result<()> {
    // The secret may have been rotated since it was read: the use belongs to the one that was shown.
    sqlx::query(
        "UPDATE access_tokens
            SET last_used_at = greatest(last_used_at, $3),
                old_used_at = CASE WHEN old_mac = $4 THEN greatest(old_used_at, $3) ELSE old_used_at END
          WHERE organization_id = $1 AND id = $2",
    )
    .bind(token.organization_id.to_string())
    .bind(token.id.to_string())
    .bind(at.as_micros())
    .bind(old_mac.map(|mac| mac.as_bytes().as_slice()))
    .execute(tx.conn())
    .await?;
    Ok(())
}
