//! The settings of Headgate: one table yields the flags, the environment variables, the keys of the file and the help text.
//!
//! To add one: a line here and its use in `roles`. Invariant: a name stands once, so that `--gateway-addr`,
//! `HEADGATE_GATEWAY_ADDR` and the key `gateway_addr` are always the same thing.

use std::sync::LazyLock;

use runtime::config::{Kind, Setting};

const fn setting(name: &'static str, kind: Kind, default: Option<&'static str>, help: &'static str) -> Setting {
    Setting { name, kind, default, help }
}

/// Settings of every command.
pub(crate) const COMMON: &[Setting] = &[
    setting(
        "data_dir",
        Kind::Path,
        Some("~/.local/share/headgate"),
        "Where keys, the private database and the node's state live",
    ),
    setting("log", Kind::Text, Some("info"), "What to log: a level, or a filter such as `info,gateway=debug`"),
    setting("log_format", Kind::Text, None, "`json` or `text`; unset: text at a terminal, JSON elsewhere"),
    setting(
        "otlp_endpoint",
        Kind::Url,
        None,
        "Where traces go (OTLP over gRPC, or over HTTP with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf); \
         OTEL_EXPORTER_OTLP_ENDPOINT is understood, too",
    ),
    setting(
        "core_dumps",
        Kind::Switch,
        None,
        "Allow core dumps and debuggers of this process, whose memory holds secrets; only to look into a defect",
    ),
];

/// Settings of whatever opens the database.
pub(crate) const DATABASE: &[Setting] = &[
    setting(
        "database_url",
        Kind::Url,
        None,
        "PostgreSQL, `postgres://…`; unset: a private cluster in the data directory",
    ),
    setting(
        "postgres_bin",
        Kind::Path,
        None,
        "Folder of PostgreSQL's programs for the private cluster, or `pinned` for the archive of this release, which is fetched once; \
         unset: found on the system, else the archive",
    ),
];

/// Settings of the root key.
pub(crate) const ROOT_KEY: &[Setting] = &[
    setting(
        "root_key_file",
        Kind::Path,
        None,
        "File of the root key for stored secrets; unset: made in the data directory",
    ),
    setting(
        "root_key",
        Kind::Secret,
        None,
        "The root key itself, or the path of its file; better given by environment than by flag",
    ),
];

/// Settings of state that processes share.
pub(crate) const STATE: &[Setting] = &[
    setting(
        "redis_url",
        Kind::Url,
        None,
        "Redis, `redis://…` or `rediss://…`: nodes count rate limits in common there, and share answers that are given again and \
         pauses that upstreams asked for; unset: each process keeps to itself",
    ),
    setting(
        "redis_timeout",
        Kind::Duration,
        Some("20ms"),
        "Longest time that a call waits for Redis before it does without",
    ),
];

/// Settings of the control plane.
pub(crate) const CONTROL: &[Setting] = &[
    setting("control_addr", Kind::Address, Some("127.0.0.1:7400"), "Console and management API"),
    setting("sync_addr", Kind::Address, Some("127.0.0.1:7401"), "Where nodes connect (gRPC, mutual TLS)"),
    setting(
        "public_url",
        Kind::Url,
        None,
        "The console's address as browsers see it, such as https://headgate.example.com",
    ),
    setting("gateway_url", Kind::Url, None, "The gateway's address as clients see it; shown in the console"),
    setting(
        "sync_url",
        Kind::Url,
        None,
        "The address that nodes dial, such as https://control.example.com:7401; stands in join commands",
    ),
    setting(
        "trust_forwarded_for",
        Kind::Switch,
        None,
        "Believe `x-forwarded-for` of the immediate peer: only behind a proxy that sets it",
    ),
    setting(
        "control_admin_addr",
        Kind::Address,
        Some("127.0.0.1:7402"),
        "Health and metrics (/livez /readyz /metrics) of a control plane that is a process of its own",
    ),
    setting("auto_migrate", Kind::Switch, None, "Apply missing migrations at start; `headgate up` always does"),
    setting("usage_retention", Kind::Duration, Some("400d"), "How long usage events are kept; sums stay"),
    setting(
        "smtp_url",
        Kind::Secret,
        None,
        "The server that sends alerts by e-mail: `smtps://[user:password@]host[:port]`, or `smtp://…` for STARTTLS; \
         `smtp://…?tls=none` sends in clear; unset: no e-mail",
    ),
    setting("smtp_from", Kind::Text, None, "Who e-mails come from, such as `Headgate <alerts@example.com>`"),
];

/// Settings of whatever calls addresses that tenants enter.
pub(crate) const EGRESS: &[Setting] = &[
    setting(
        "egress_allow_private",
        Kind::List,
        None,
        "Private address blocks and hosts that upstreams, and destinations of alerts, may have; `headgate up` allows loopback unless this is set",
    ),
    setting(
        "upstream_ca_file",
        Kind::Path,
        None,
        "Certificate authorities (PEM) that upstreams, destinations of alerts and the SMTP server may have besides the public ones",
    ),
    setting(
        "upstream_proxy",
        Kind::Secret,
        None,
        "Proxy for all upstream calls, and for alerts by HTTP, `http://[user:password@]host:port`; HTTPS_PROXY is not read",
    ),
];

/// Settings of a node.
pub(crate) const GATEWAY: &[Setting] = &[
    setting("gateway_addr", Kind::Address, Some("127.0.0.1:7410"), "Where clients call"),
    setting(
        "admin_addr",
        Kind::Address,
        Some("127.0.0.1:7411"),
        "Node administration: /livez /readyz /synced /metrics /explain",
    ),
    setting(
        "cache_memory",
        Kind::Bytes,
        Some("64MiB"),
        "Memory for answers that are given again, where routes allow it",
    ),
    setting("worker_threads", Kind::Count, Some("0"), "Listener threads; 0 means one for each core"),
    setting("max_body", Kind::Bytes, Some("32MiB"), "Largest request body"),
    setting("max_connections", Kind::Count, Some("20000"), "Most open client connections"),
    setting("max_in_flight", Kind::Count, Some("10000"), "Most calls in flight on the node"),
    setting("max_in_flight_per_key", Kind::Count, Some("5000"), "Most calls in flight of one virtual key on the node"),
    setting(
        "header_timeout",
        Kind::Duration,
        Some("15s"),
        "Longest time from a connection's first byte to the end of its first request head",
    ),
    setting("idle_timeout", Kind::Duration, Some("75s"), "How long a client connection is kept that sends no request"),
    setting("body_timeout", Kind::Duration, Some("60s"), "Longest time for a whole request body"),
    setting(
        "drain_grace",
        Kind::Duration,
        None,
        "How long a node still serves everybody after SIGTERM while /readyz says 503, so that load balancers notice; unset: 5s \
         for `headgate gateway`, none for `headgate up`",
    ),
    setting(
        "realtime_idle",
        Kind::Duration,
        Some("15m"),
        "How long a realtime session is kept in which nobody says anything",
    ),
    setting("realtime_timeout", Kind::Duration, Some("60m"), "Longest realtime session"),
    setting("drain_timeout", Kind::Duration, Some("30s"), "How long calls in flight may go on after that"),
    setting(
        "spool_max",
        Kind::Bytes,
        Some("1GiB"),
        "Most disk space for usage events that the control plane has not taken yet",
    ),
    setting(
        "spool_full",
        Kind::Text,
        Some("serve"),
        "What to do with calls while that space is used up: `serve` counts what cannot be noted, `refuse` answers 503",
    ),
];

/// Settings of a node that is a process of its own.
pub(crate) const LINK: &[Setting] = &[
    setting(
        "control",
        Kind::Url,
        None,
        "The control plane's sync address, such as https://control.example.com:7401; only for the first start",
    ),
    setting("join_token", Kind::Secret, None, "The join token; only for the first start"),
    setting("region", Kind::Text, None, "Where the node runs, for people"),
    setting("node_name", Kind::Text, None, "The node's name in the console; unset: the host's name"),
];

static ALL: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    [COMMON, DATABASE, ROOT_KEY, STATE, CONTROL, EGRESS, GATEWAY, LINK].into_iter().flatten().copied().collect()
});

/// Returns the whole table.
pub(crate) fn all() -> &'static [Setting] {
    &ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once() {
        let mut names: Vec<&str> = all().iter().map(|setting| setting.name).collect();
        let n_all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n_all);
    }

    #[test]
    fn the_defaults_are_usable() {
        let none = std::collections::BTreeMap::new();
        let resolved = runtime::config::resolve(all(), &none, &runtime::config::Environment::default(), None);
        assert!(resolved.is_ok(), "{resolved:?}");
    }
}
