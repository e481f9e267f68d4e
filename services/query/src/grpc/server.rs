use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use agora_proto::query::v1::{GetThreadRequest, query_service_server::QueryServiceServer};
use bytes::{BufMut as _, Bytes};
use chassis::{Call, status};
use prost::Message as _;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService, UnaryService},
};
use tower::Service as TowerService;

use super::Service;

/// The method whose answers are kept encoded.
const GET_THREAD: &str = "/agora.query.v1.QueryService/GetThread";

/// The generated server, but for one method: a page that is kept encoded is sent as it
/// is.
#[derive(Clone)]
pub(crate) struct Server {
    service: Service,
    generated: QueryServiceServer<Service>,
    max_request_bytes: usize,
    max_response_bytes: usize,
}

impl Server {
    pub(crate) fn new(
        service: Service,
        max_request_bytes: usize,
        max_response_bytes: usize,
    ) -> Self {
        let generated = QueryServiceServer::new(service.clone())
            .max_decoding_message_size(max_request_bytes)
            .max_encoding_message_size(max_response_bytes);
        Self { service, generated, max_request_bytes, max_response_bytes }
    }
}

impl NamedService for Server {
    const NAME: &'static str = <QueryServiceServer<Service> as NamedService>::NAME;
}

impl TowerService<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != GET_THREAD {
            return Box::pin(self.generated.call(request));
        }
        let mut grpc = Grpc::new(PageCodec)
            .max_decoding_message_size(self.max_request_bytes)
            .max_encoding_message_size(self.max_response_bytes);
        let method = GetThread(self.service.clone());
        Box::pin(async move { Ok(grpc.unary(method, request).await) })
    }
}

struct GetThread(Service);

impl UnaryService<GetThreadRequest> for GetThread {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<GetThreadRequest>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let (call, message) = Call::open(request);
            service.encoded_thread(call, message).await.map(Response::new).map_err(status)
        })
    }
}

/// Decodes requests, and takes answers that are encoded already.
struct PageCodec;

impl Codec for PageCodec {
    type Encode = Bytes;
    type Decode = GetThreadRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for PageCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, page: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(page.len());
        buffer.put(page);
        Ok(())
    }
}

impl Decoder for PageCodec {
    type Item = GetThreadRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // As tonic's own codec tells it.
        let message = GetThreadRequest::decode(buffer);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
