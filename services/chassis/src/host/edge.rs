//! What happens to every request between the connection and the service: it is
//! observed, admitted, handed to its service with a [`Call`], and answered in time.
//!
//! One function does it all, without a layer's future boxed around another's: at 20,000
//! requests a second each of those costs.

mod body;
mod complete;
mod deadline;
mod observe;
mod rpc;

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt as _;
use http::{HeaderMap, Request, Response, header};
use tokio::{sync::Semaphore, time::timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes};
use tower::Service;
use tracing::Instrument as _;

use super::allowed::Hosts;
use crate::{
    Call, Error,
    auth::{Caller, Permission, Verifier},
    error::status,
    request, telemetry,
};

pub(super) use body::EdgeBody;
use observe::Observation;
pub(super) use rpc::Rpcs;

/// The way of every request; cheap to clone.
#[derive(Clone)]
pub(super) struct Edge {
    /// The services.
    pub(super) routes: Routes,
    pub(super) shared: Arc<Shared>,
}

/// What requests share.
pub(super) struct Shared {
    pub(super) hosts: Arc<Hosts>,
    pub(super) rpcs: Rpcs,
    pub(super) verifier: Verifier,
    /// A permit for each request that is worked on.
    pub(super) in_flight: Semaphore,
    pub(super) request_timeout: Duration,
    pub(super) shutdown: CancellationToken,
}

impl Edge {
    /// Answers a request. Every answer that is an error says why, with a reason.
    pub(super) async fn handle(&self, request: Request<Body>) -> Response<EdgeBody> {
        let shared = &self.shared;
        let rpc = shared.rpcs.find(request.uri().path());
        let observation = Observation::begin(rpc.clone(), request.headers());
        let permission = rpc.method.permission;
        let working = self.admit(request, permission).instrument(observation.span());
        let answer = request::of_request(rpc.name.clone(), working).await;
        let answer = answer.unwrap_or_else(Status::into_http);
        let answer = complete::head(answer);

        // Streams of Agora's own services end by themselves, with a resume token. Those
        // of others (health) would hold the shutdown until its deadline.
        let is_cut = rpc.method.is_stream && permission.is_none();
        let cut = is_cut.then(|| shared.shutdown.clone());
        EdgeBody::wrap(answer, observation, cut)
    }

    /// Checks whether a request may be worked on, and has it worked on.
    async fn admit(
        &self,
        mut request: Request<Body>,
        permission: Option<Permission>,
    ) -> Result<Response<Body>, Status> {
        let shared = &self.shared;
        shared.hosts.check(request.uri(), request.headers()).map_err(status)?;
        let _permit = shared
            .in_flight
            .try_acquire()
            .map_err(|_| status(Error::Overloaded("server.max_in_flight is reached")))?;

        let deadline = deadline::of(request.headers(), shared.request_timeout).map_err(status)?;
        if let Some(permission) = permission {
            let caller = shared.caller(request.headers(), permission).map_err(status)?;
            let traceparent = telemetry::traceparent();
            request.extensions_mut().insert(Call { caller, deadline, traceparent });
        }

        let mut routes = self.routes.clone();
        let answer = AssertUnwindSafe(async move { routes.call(request).await }).catch_unwind();
        match timeout_at(deadline, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => Err(status(Error::internal("the handler panicked"))),
            Err(_) => Err(status(Error::DeadlineExceeded)),
        }
    }
}

impl Shared {
    /// Who calls, by the token that the request carries.
    fn caller(&self, headers: &HeaderMap, permission: Permission) -> Result<Caller, Error> {
        let principal = match headers.get(header::AUTHORIZATION) {
            Some(header) => Some(self.verifier.verify(header.as_bytes())?),
            None if permission == Permission::Read => None,
            None => return Err(Error::TokenMissing),
        };
        Ok(Caller::new(principal, permission))
    }
}

/// For the layers of browsers, which need a service of tower.
impl Service<Request<Body>> for Edge {
    type Response = Response<EdgeBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let edge = self.clone();
        Box::pin(async move { Ok(edge.handle(request).await) })
    }
}
