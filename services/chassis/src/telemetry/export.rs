use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use metrics::Unit;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter as Exporter},
};

/// Sends spans, counts them, and says once when that begins to fail and once when it works
/// again: the SDK alone would log an error every few seconds.
#[derive(Debug)]
pub(super) struct Export {
    to: SpanExporter,
    endpoint: String,
    fails: AtomicBool,
}

/// Describes what is counted.
pub(super) fn describe() {
    metrics::describe_counter!(
        "agora_spans_total",
        Unit::Count,
        "How many spans of traces were sent to the OTLP endpoint, or lost as it did not take them"
    );
}

impl Export {
    pub(super) fn new(to: SpanExporter, endpoint: &str) -> Self {
        Self { to, endpoint: endpoint.to_owned(), fails: AtomicBool::new(false) }
    }
}

impl Exporter for Export {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let count = spans.len() as u64;
        let sent = self.to.export(spans).await;
        let outcome = if sent.is_ok() { "sent" } else { "lost" };
        metrics::counter!("agora_spans_total", "outcome" => outcome).increment(count);
        let endpoint = &self.endpoint;
        match sent {
            Ok(()) if self.fails.swap(false, Ordering::Relaxed) => {
                tracing::info!(endpoint, "trace export recovered");
            }
            Err(error) if !self.fails.swap(true, Ordering::Relaxed) => {
                tracing::warn!(endpoint, %error, "trace export failed: spans are lost");
            }
            Ok(()) | Err(_) => {}
        }
        // It was told.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.to.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.to.set_resource(resource);
    }
}
