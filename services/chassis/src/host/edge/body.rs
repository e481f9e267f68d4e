use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, body::Body};

use super::{complete, observe::Observation};
use crate::{Error, error::status};

/// The header or trailer that says how a request was answered.
const GRPC_STATUS: &str = "grpc-status";

/// An answer on its way out. It completes the status at its end, and tells the
/// observation of it.
pub(in crate::host) struct EdgeBody {
    inner: Body,
    observation: Option<Observation>,
    /// Ends a stream that would not end by itself.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl EdgeBody {
    /// Wraps an answer whose head is complete.
    pub(super) fn wrap(
        answer: Response<Body>,
        observation: Observation,
        cut: Option<CancellationToken>,
    ) -> Response<Self> {
        let (head, inner) = answer.into_parts();
        // An error has no body: its head says all.
        let observation = match code(&head.headers) {
            Some(code) => {
                observation.end(code);
                None
            }
            None => Some(observation),
        };
        let cut = cut.map(|token| Box::pin(token.cancelled_owned()));
        Response::from_parts(head, Self { inner, observation, cut })
    }

    fn end(&mut self, code: Code) {
        if let Some(observation) = self.observation.take() {
            observation.end(code);
        }
    }

    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        self.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(context).is_ready())
    }
}

impl Default for EdgeBody {
    fn default() -> Self {
        Self { inner: Body::empty(), observation: None, cut: None }
    }
}

impl http_body::Body for EdgeBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_cut(context) {
            self.cut = None;
            self.inner = Body::empty();
            self.end(Code::Unavailable);
            let trailers = trailers(&status(Error::ShuttingDown));
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let Poll::Ready(frame) = polled else { return Poll::Pending };
        match frame {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    complete::trailers(trailers);
                    let code = code(trailers).unwrap_or(Code::Unknown);
                    self.end(code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.end(error.code());
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.end(Code::Unknown);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The code among headers or trailers, if it is there.
fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).expect("a status of ours is made of plain text");
    trailers
}
