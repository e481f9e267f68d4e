//! What stands at the end of traces: a collector that keeps them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};

use crate::Result;

/// How much one export may hold, as the OpenTelemetry Collector has it.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A collector of traces on loopback.
pub struct Collector {
    /// Where it listens.
    pub port: u16,
    spans: Spans,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Collected>>>);

/// A span as it has arrived.
#[derive(Clone, Debug)]
pub struct Collected {
    /// Its name.
    pub name: String,
    /// Server, client, producer, consumer.
    pub kind: SpanKind,
    /// Its trace, in hex.
    pub trace: String,
    /// Its id, in hex.
    pub id: String,
    /// Its parent, in hex; empty if it has none.
    pub parent: String,
    /// The traces that it links to.
    pub links: Vec<String>,
    /// Whether its status is an error.
    pub is_error: bool,
    /// How long it took.
    pub nanoseconds: u64,
    /// What is said of it.
    pub attributes: BTreeMap<String, String>,
    /// What is said of the program.
    pub resource: BTreeMap<String, String>,
}

impl Collected {
    /// What is said of it; nothing if it is not said.
    pub fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }

    /// The service that it is of.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    fn of(span: Span, resource: &BTreeMap<String, String>) -> Self {
        let is_error = span.status.as_ref().is_some_and(|it| it.code() == StatusCode::Error);
        Self {
            kind: span.kind(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
            is_error,
            nanoseconds: span.end_time_unix_nano - span.start_time_unix_nano,
            attributes: attributes(span.attributes),
            resource: resource.clone(),
            name: span.name,
        }
    }
}

impl Collector {
    /// Starts one, with TLS if it is given a certificate.
    ///
    /// # Errors
    /// If it cannot listen, or if the certificate is none.
    pub async fn start(identity: Option<Identity>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let spans = Spans::default();
        let mut server = Server::builder();
        if let Some(identity) = identity {
            server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
        }
        let service = TraceServiceServer::new(spans.clone()).max_decoding_message_size(MAX_BYTES);
        let serving = server.add_service(service);
        let serving = serving.serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the collector has ended: {error}");
            }
        });
        Ok(Self { port, spans, _serving: AbortOnDropHandle::new(serving) })
    }

    /// The spans that have arrived, of those that are wanted.
    pub fn spans(&self, wanted: impl Fn(&Collected) -> bool) -> Vec<Collected> {
        let spans = self.spans.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| wanted(span)).cloned().collect()
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for resource_spans in request.into_inner().resource_spans {
            let resource = attributes(resource_spans.resource.unwrap_or_default().attributes);
            let arrived = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(arrived.map(|span| Collected::of(span, &resource)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |pair: KeyValue| match pair.value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => (pair.key, text),
        Some(Value::IntValue(number)) => (pair.key, number.to_string()),
        other => (pair.key, format!("{other:?}")),
    };
    pairs.into_iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
