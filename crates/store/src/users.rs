//! People, independent of any organization. The password hash is read apart from the person and only for verification.

use std::collections::BTreeMap;

use domain::user::User;
use domain::{DisplayName, Email, Permit, Timestamp, UserId};

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, Session, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct UserRow {
    id: String,
    email: String,
    name: String,
    must_change_password: bool,
    version: i64,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl UserRow {
    fn read(self) -> Result<User> {
        let row = Row { table: "users", id: &self.id };
        Ok(User {
            id: row.parse("id", &self.id)?,
            email: row.parse("email", &self.email)?,
            name: row.parse("name", &self.name)?,
            must_change_password: self.must_change_password,
            version: unsigned(self.version),
            created_at: time(self.created_at),
            disabled_at: time_opt(self.disabled_at),
        })
    }
}

/// Adds a person and, if given, their password. Errors: `Conflict(UserEmail)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, user: &User, password: Option<NewPassword<'_>>) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO users (id, email, name, password_hash, password_expires_at, must_change_password, version, created_at,
                            disabled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(user.id.to_string())
    .bind(user.email.as_str())
    .bind(user.name.as_str())
    .bind(password.map(NewPassword::hash))
    .bind(row::micros(password.and_then(NewPassword::expires_at)))
    .bind(user.must_change_password)
    .bind(signed(user.version))
    .bind(user.created_at.as_micros())
    .bind(row::micros(user.disabled_at))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Returns a person; inside one organization only its members are found.
pub async fn get(tx: &mut impl Session, id: UserId) -> Result<User> {
    find(tx, id).await?.ok_or(StoreError::NotFound("user"))
}

/// Looks a person up; inside one organization only its members are found.
pub async fn find(tx: &mut impl Session, id: UserId) -> Result<Option<User>> {
    let row: Option<UserRow> = sqlx::query_as(
        "SELECT id, email, name, must_change_password, version, created_at, disabled_at FROM users WHERE id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(tx.connection())
    .await?;
    row.map(UserRow::read).transpose()
}

/// Returns the names of those of the given people who are members of the organization.
pub async fn names(tx: &mut Tx, ids: &[UserId]) -> Result<BTreeMap<UserId, DisplayName>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT u.id, u.name FROM users u JOIN members m ON m.user_id = u.id WHERE m.organization_id = $1 AND u.id = ANY($2)",
    )
    .bind(tx.org())
    .bind(row::texts(Some(ids)))
    .fetch_all(tx.conn())
    .await?;
    let read = |(id, name): (String, String)| {
        let row = Row { table: "users", id: &id };
        Ok((row.parse("id", &id)?, row.parse("name", &name)?))
    };
    rows.into_iter().map(read).collect()
}

/// Looks a person up by address, over all organizations.
pub async fn find_by_email(tx: &mut SystemTx, email: &Email) -> Result<Option<User>> {
    let row: Option<UserRow> = sqlx::query_as(
        "SELECT id, email, name, must_change_password, version, created_at, disabled_at FROM users WHERE email = $1",
    )
    .bind(email.as_str())
    .fetch_optional(tx.conn())
    .await?;
    row.map(UserRow::read).transpose()
}

/// Returns the PHC string to verify a password against, if the person has one that works at `now`.
pub async fn find_password_hash(tx: &mut SystemTx, id: UserId, now: Timestamp) -> Result<Option<String>> {
    let hash: Option<Option<String>> = sqlx::query_scalar(
        "SELECT password_hash FROM users WHERE id = $1 AND (password_expires_at IS NULL OR password_expires_at > $2)",
    )
    .bind(id.to_string())
    .bind(now.as_micros())
    .fetch_optional(tx.conn())
    .await?;
    Ok(hash.flatten())
}

/// A password to store, as its PHC string.
#[derive(Clone, Copy)]
pub enum NewPassword<'a> {
    /// The person chose it.
    Own(&'a str),
    /// Somebody else made it: it works until then, and only to choose another.
    OneTime(&'a str, Timestamp),
}

impl std::fmt::Debug for NewPassword<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword([secret])")
    }
}

impl<'a> NewPassword<'a> {
    const fn hash(self) -> &'a str {
        match self {
            Self::Own(hash) | Self::OneTime(hash, _) => hash,
        }
    }

    const fn expires_at(self) -> Option<Timestamp> {
        match self {
            Self::Own(_) => None,
            Self::OneTime(_, at) => Some(at),
        }
    }
}

/// Sets a person's password.
pub async fn set_password(tx: &mut WriteTx, permit: &Permit, id: UserId, password: NewPassword<'_>) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE users SET password_hash = $2, must_change_password = $3, password_expires_at = $4, version = version + 1
          WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(password.hash())
    .bind(password.expires_at().is_some())
    .bind(row::micros(password.expires_at()))
    .execute(tx.conn())
    .await?
    .exactly(1, "user")
}

/// Replaces the hash of an unchanged password by one with newer parameters, if it is still `old`; not an audited act.
pub async fn rehash(tx: &mut SystemTx, id: UserId, old: &str, new: &str) -> Result<()> {
    sqlx::query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
        .bind(id.to_string())
        .bind(old)
        .bind(new)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Writes the name over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, user: &User) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query("UPDATE users SET name = $3, version = version + 1 WHERE id = $1 AND version = $2")
        .bind(user.id.to_string())
        .bind(signed(user.version))
        .bind(user.name.as_str())
        .execute(tx.conn())
        .await?
        .current("user")?;
    Ok(user.version + 1)
}

/// Disables a person. Their sessions are ended by [`crate::sessions::delete_all`].
pub async fn disable(tx: &mut WriteTx, permit: &Permit, id: UserId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("UPDATE users SET disabled_at = $2, version = version + 1 WHERE id = $1 AND disabled_at IS NULL")
        .bind(id.to_string())
        .bind(at.as_micros())
        .execute(tx.conn())
        .await?
        .exactly(1, "user")
}
