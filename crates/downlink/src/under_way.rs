//! Counts what is under way between the planes, for the control plane's metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use operation::cx::Cx;
use operation::metrics::Metrics;

/// Counts one thing under way for as long as it lives.
pub(crate) struct UnderWay {
    cx: Arc<Cx>,
    gauge: fn(&Metrics) -> &AtomicU64,
}

impl UnderWay {
    pub(crate) fn new(cx: Arc<Cx>, gauge: fn(&Metrics) -> &AtomicU64) -> Self {
        gauge(&cx.metrics).fetch_add(1, Ordering::Relaxed);
        Self { cx, gauge }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        (self.gauge)(&self.cx.metrics).fetch_sub(1, Ordering::Relaxed);
    }
}
