//! Logs to standard error and traces over OTLP.
//!
//! Standard output belongs to the command (`headgate up --json`), so nothing is logged there. Invariant: what looks like a
//! secret of ours or of a provider is masked on its way out ([`mask_secrets`]), to the log as to a collector; that is the last
//! wall, not the first: code does not log secrets, prompts or answers at all.

pub mod calls;
mod encode;
mod export;
pub mod metrics;
mod outbox;
mod traces;

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

pub use self::export::{Collector, Endpoint, Headers};
pub use self::outbox::lost_spans;
use self::outbox::{Delivery, Outbox};

/// The name of what makes the spans.
const SCOPE: &str = "headgate";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

/// What to log and where traces go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Levels of log lines, as `tracing` filters write them: `info`, `info,gateway=debug`.
    pub filter: String,
    /// JSON or text; `None` takes text at a terminal and JSON elsewhere.
    pub format: Option<Format>,
    /// Where traces go; `None` exports nothing.
    pub collector: Option<Collector>,
    /// `service.instance.id` of this process.
    pub instance: String,
    /// `service.version` of this process.
    pub version: &'static str,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("`{filter}` is not a log filter such as `info` or `info,gateway=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
    },
    /// Telemetry was started before in this process.
    #[error("telemetry is already running in this process")]
    AlreadyRunning,
}

/// Keeps the exporter; [`Telemetry::stop`] sends what is left.
#[derive(Debug)]
#[must_use = "stop it at the end, or the last spans are lost"]
pub struct Telemetry {
    exporting: Option<(SdkTracerProvider, Delivery)>,
}

/// Starts logging and, with a collector, tracing. Call inside the tokio runtime: the exporter connects through it.
///
/// Errors: see [`TelemetryError`]; nothing is installed then. A collector that cannot be used is no error: what a process is
/// for does not need it. It is logged, and nothing is exported.
pub fn start(settings: &Settings) -> Result<Telemetry, TelemetryError> {
    let refused = |_| TelemetryError::Filter { filter: settings.filter.clone() };
    let filter = EnvFilter::builder().parse(&settings.filter).map_err(refused)?;
    let is_terminal = io::stderr().is_terminal();
    let format = settings.format.unwrap_or(if is_terminal { Format::Text } else { Format::Json });
    let lines = tracing_subscriber::fmt::layer().with_writer(MaskedStderr).with_ansi(is_terminal);
    let lines = match format {
        Format::Text => lines.compact().boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let exporting = settings.collector.as_ref().map(|collector| exporting_to(collector, settings)).transpose();
    let (exporting, refused) = match exporting {
        Ok(exporting) => (exporting, None),
        Err(reason) => (None, Some(reason)),
    };
    let tracer = exporting.as_ref().map(|(provider, _)| provider.tracer(SCOPE));
    let traces = tracer.clone().map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
        // Spans are not entered while their work waits, so that the times in and out of them would be noise; the target is one.
        let layer = layer.with_tracked_inactivity(false).with_target(false);
        layer.with_filter(filter_fn(traces::is_exported))
    });
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter));
    // No layer rather than an empty one: an empty one counts as one that wants every span.
    let started = match traces {
        Some(traces) => registry.with(traces).try_init(),
        None => registry.try_init(),
    };
    started.map_err(|_| TelemetryError::AlreadyRunning)?;
    if let Some(tracer) = tracer {
        calls::listen(tracer);
    }
    if let Some(reason) = refused {
        tracing::warn!(%reason, "the trace collector cannot be used; nothing is exported");
    }
    Ok(Telemetry { exporting })
}

fn exporting_to(collector: &Collector, settings: &Settings) -> Result<(SdkTracerProvider, Delivery), String> {
    let (way, pace) = export::way_to(collector)?;
    let resource = Resource::builder()
        .with_service_name("headgate")
        .with_attribute(opentelemetry::KeyValue::new("service.version", settings.version))
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", settings.instance.clone()))
        .build();
    let (outbox, delivery) = Outbox::open(way, &resource, pace);
    Ok((SdkTracerProvider::builder().with_span_processor(outbox).with_resource(resource).build(), delivery))
}

impl Telemetry {
    /// Sends what is left and stops exporting.
    pub async fn stop(self) {
        if let Some((provider, delivery)) = self.exporting {
            // No span is taken any more; there is nothing else that could fail here.
            drop(provider.shutdown());
            delivery.finish().await;
        }
    }
}

/// Writes an error and all its causes in one line: `first: second: third`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some libraries repeat the cause in their own text; saying it once is enough.
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) && write!(text, ": {cause_text}").is_err() {
            break;
        }
        source = cause.source();
    }
    text
}

/// Masks everything that looks like a secret: our tokens keep their public part, providers' keys their prefix.
#[must_use]
pub fn mask_secrets(line: &str) -> Cow<'_, str> {
    if line.len() <= SHORTEST_SECRET {
        return Cow::Borrowed(line);
    }
    let mut masked = String::new();
    let mut rest = line;
    while let Some((at, prefix)) = find_prefix(rest) {
        let (before, found) = rest.split_at(at);
        let body = &found[prefix.len()..];
        let end = body.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.~+/=".contains(c))).unwrap_or(body.len());
        let kept = public_length(prefix, &body[..end]);
        masked.push_str(before);
        masked.push_str(prefix);
        masked.push_str(&body[..kept]);
        if end > kept {
            masked.push_str("(hidden)");
        }
        rest = &body[end..];
    }
    if masked.is_empty() {
        return Cow::Borrowed(line);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// What follows the prefix of a secret is this long, in bytes; shorter words only look alike.
const SHORTEST_SECRET: usize = 16;

/// Finds what a secret may begin with, in one pass: every text of every span comes by here.
fn find_prefix(text: &str) -> Option<(usize, &'static str)> {
    const PREFIXES: &[&str] = &["hgk_", "hga_", "hgj_", "hge_", "sk-", "Bearer ", "AIza", "gsk_", "AKIA"];
    text.as_bytes().windows(2).enumerate().find_map(|(at, pair)| {
        // The beginnings of all of them; the rest of the list is looked at only then.
        if !matches!(pair, b"hg" | b"sk" | b"Be" | b"AI" | b"gs" | b"AK") {
            return None;
        }
        let rest = &text.as_bytes()[at..];
        PREFIXES.iter().find(|prefix| rest.starts_with(prefix.as_bytes())).map(|prefix| (at, *prefix))
    })
}

/// How much of the text after `prefix` may be seen: all of a short word that only looks alike, `l1_<kid12>` of our own.
fn public_length(prefix: &str, body: &str) -> usize {
    if body.len() < SHORTEST_SECRET {
        return body.len();
    }
    let is_ours = prefix.starts_with("hg");
    let kid_end = body.match_indices('_').nth(1).map(|(at, _)| at);
    if is_ours { kid_end.unwrap_or(0) } else { 0 }
}

struct MaskedStderr;

struct MaskedLine;

impl<'a> MakeWriter<'a> for MaskedStderr {
    type Writer = MaskedLine;

    fn make_writer(&'a self) -> MaskedLine {
        MaskedLine
    }
}

impl Write for MaskedLine {
    // The formatter hands over one whole line per call, so a secret is never split between two.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().lock().write_all(mask_secrets(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn secrets_are_masked_and_their_public_part_is_kept() {
        let line = "key=hgk_l1_9aQbCdEfGhIj_ABCDEFGHIJKLMNOPQRSTUVWXYZ012345_abc123 upstream=sk-proj-ABCDEFGHIJKLMNOP1234 done";
        assert_eq!(mask_secrets(line), "key=hgk_l1_9aQbCdEfGhIj(hidden) upstream=sk-(hidden) done");
        assert_eq!(mask_secrets("authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"), "authorization: Bearer (hidden)");
    }

    #[test]
    fn every_kind_of_secret_is_found_wherever_it_stands() {
        for prefix in ["hgk_", "hga_", "hgj_", "hge_", "sk-", "Bearer ", "AIza", "gsk_", "AKIA"] {
            for (before, after) in [("", ""), ("s", " "), ("h", "\n"), ("é", "é"), ("hg sk A B ", "\""), ("sk", "'")]
            {
                let line = format!("{before}{prefix}ABCDEFGHIJKLMNOPQRSTUV{after}");
                assert_eq!(mask_secrets(&line), format!("{before}{prefix}(hidden){after}"));
            }
        }
    }

    #[test]
    fn ordinary_lines_are_untouched() {
        for line in ["listening on 127.0.0.1:7410", "task-list done", "desk-top sk-1", "Bearer of news"] {
            assert_eq!(mask_secrets(line), line);
        }
        assert!(matches!(mask_secrets("nothing here"), Cow::Borrowed(_)));
    }

    #[tokio::test]
    async fn a_collector_that_cannot_be_used_is_named_and_nothing_else_stops() {
        crate::tls::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let junk = folder.path().join("ca.pem");
        std::fs::write(&junk, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").expect("writable");
        let collector = |endpoint: &str, ca_file: Option<PathBuf>, protocol: Option<&str>| Collector {
            endpoint: Endpoint::Base(endpoint.to_owned()),
            ca_file,
            protocol: protocol.map(str::to_owned),
            timeout_ms: None,
            headers: None,
            compression: None,
            every_ms: None,
            batch: None,
            waiting: None,
        };
        let settings = Settings {
            filter: "info".to_owned(),
            format: None,
            collector: None,
            instance: "i".to_owned(),
            version: "v",
        };
        let slow = Collector { timeout_ms: Some("soon".to_owned()), ..collector("http://127.0.0.1:4317", None, None) };
        let http = Some("http/protobuf");
        for (collector, reason) in [
            (collector("http://[nowhere", None, None), "endpoint"),
            (collector("http://[nowhere", None, http), "endpoint"),
            (collector("collector:4318", None, http), "is no address"),
            (collector("ftp://collector", None, http), "http://"),
            (collector("http://127.0.0.1:4318", None, Some("http/json")), "http/protobuf"),
            (collector("https://127.0.0.1:4317", Some(folder.path().join("none.pem")), None), "none.pem"),
            (collector("https://127.0.0.1:4318", Some(folder.path().join("none.pem")), http), "none.pem"),
            (collector("https://127.0.0.1:4317", Some(junk), None), "certificate"),
            (slow, "milliseconds"),
        ] {
            let refused = exporting_to(&collector, &settings).expect_err("refused");
            assert!(refused.to_lowercase().contains(reason), "{refused}");
        }
        for endpoint in ["https://collector.example.com:4317", "http://127.0.0.1:4317"] {
            for protocol in [None, Some("grpc"), http] {
                exporting_to(&collector(endpoint, None, protocol), &settings).expect("usable");
            }
        }
        start(&Settings { collector: Some(collector("http://[nowhere", None, None)), ..settings })
            .expect("started")
            .stop()
            .await;
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading the file")]
        struct Outer(#[source] io::Error);
        assert_eq!(chain(&Outer(io::Error::other("disk full"))), "reading the file: disk full");
    }
}
