//! A signed-in browser.

use std::time::Duration;

use crate::{SessionId, Timestamp, UserId};

/// A session; the cookie's secret is stored as SHA-256 and is not part of the entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id (public; not the cookie).
    pub id: SessionId,
    /// Who signed in.
    pub user_id: UserId,
    /// When.
    pub created_at: Timestamp,
    /// The last request, in steps of a minute.
    pub last_seen_at: Timestamp,
    /// The client's address at sign-in.
    pub ip: Option<String>,
    /// The browser's own description at sign-in, at most 256 characters.
    pub user_agent: Option<String>,
}

impl Session {
    /// A session ends after this long without a request.
    pub const IDLE: Duration = Duration::from_secs(12 * 3_600);
    /// A session ends after this long in any case.
    pub const ABSOLUTE: Duration = Duration::from_secs(7 * 24 * 3_600);

    /// Says whether the session still holds at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.since(self.last_seen_at) < Self::IDLE && now.since(self.created_at) < Self::ABSOLUTE
    }
}
