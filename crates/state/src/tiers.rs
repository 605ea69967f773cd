//! The stores of a node, nearest first: an answer found further away is kept nearby for the rest of its time.

use std::fmt::Write as _;
use std::sync::Arc;

use domain::Timestamp;

use crate::{Answer, BoxFuture, Cache, CacheKey, Memory};

/// Memory, and Redis behind it when the node has one.
#[derive(Debug)]
pub struct Tiers {
    memory: Memory,
    #[cfg(feature = "redis")]
    redis: Option<crate::redis::Redis>,
}

impl Tiers {
    /// Keeps answers in this process only.
    #[must_use]
    pub const fn alone(memory: Memory) -> Self {
        Self {
            memory,
            #[cfg(feature = "redis")]
            redis: None,
        }
    }

    /// Shares answers through Redis.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn with(mut self, redis: crate::redis::Redis) -> Self {
        self.redis = Some(redis);
        self
    }

    async fn look(&self, key: &CacheKey, now: Timestamp) -> Option<Arc<Answer>> {
        let found = self.memory.look(key, now);
        #[cfg(feature = "redis")]
        if found.is_none()
            && let Some(redis) = &self.redis
        {
            let found = redis.look(key, now).await?;
            self.memory.keep(key, Arc::clone(&found), now);
            return Some(found);
        }
        #[cfg(not(feature = "redis"))]
        std::future::ready(()).await;
        found
    }

    /// Appends its counters in the Prometheus text format.
    pub fn write_metrics(&self, out: &mut String) {
        let (hits, misses) = self.memory.counts();
        let (answers, bytes) = self.memory.size();
        // Writing to a `String` cannot fail.
        write!(
            out,
            "# HELP headgate_cache_lookups_total Look-ups of answers by store and result.\n\
             # TYPE headgate_cache_lookups_total counter\n\
             headgate_cache_lookups_total{{store=\"memory\",result=\"hit\"}} {hits}\n\
             headgate_cache_lookups_total{{store=\"memory\",result=\"miss\"}} {misses}\n"
        )
        .unwrap_or_default();
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            redis.write_lookups(out);
        }
        write!(
            out,
            "# HELP headgate_cache_answers Answers held in memory.\n# TYPE headgate_cache_answers gauge\n\
             headgate_cache_answers {answers}\n\
             # HELP headgate_cache_bytes Memory that they take, about.\n# TYPE headgate_cache_bytes gauge\n\
             headgate_cache_bytes {bytes}\n"
        )
        .unwrap_or_default();
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            redis.write_metrics(out);
        }
    }
}

impl Cache for Tiers {
    fn find<'a>(&'a self, key: &'a CacheKey, now: Timestamp) -> BoxFuture<'a, Option<Arc<Answer>>> {
        Box::pin(self.look(key, now))
    }

    fn keep(&self, key: &CacheKey, answer: Arc<Answer>, now: Timestamp) {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            redis.keep(key, Arc::clone(&answer), now);
        }
        self.memory.keep(key, answer, now);
    }
}
