//! One request as handlers see it: who calls, until when, and for which trace.

use bus_schema::{RequestMark, Site};
use tokio::time::Instant;

use crate::{Error, auth::Caller, fields::Fields, keys::Keys};

/// What the server's layers know of a request. They put it into the request's
/// extensions; a handler takes it out with [`Call::open`].
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls, and which permission the method needs.
    pub caller: Caller,
    /// When the caller stops waiting, or the server's own time-out, whichever is
    /// earlier.
    pub deadline: Instant,
    /// W3C trace context of the call; empty if it is not traced.
    pub traceparent: String,
}

/// Where a command comes from: what the committer needs to know besides the command.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The site that the command is for.
    pub site: Site,
    /// Who caused it: a principal's id.
    pub actor: String,
    /// The request, if the caller chose an id for it.
    pub request: Option<RequestMark>,
    /// A command whose deadline has passed is dropped before it is decided.
    pub deadline: Instant,
    /// W3C trace context; may be empty.
    pub traceparent: String,
    /// How many bytes the command holds; the committer's queue is limited by them.
    pub size: usize,
}

/// Who acts on something: decides whether they may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The principal's id.
    pub id: String,
    /// Whether they may change what others wrote.
    pub administers: bool,
}

impl Call {
    /// Takes a request apart.
    ///
    /// # Panics
    /// If the server's layers did not see the request, which is a defect.
    pub fn open<T>(request: tonic::Request<T>) -> (Self, T) {
        let (_, mut extensions, message) = request.into_parts();
        let call = extensions.remove::<Self>().expect("the server's layers insert a Call");
        (call, message)
    }

    /// The origin of a command that this call carries, after the check that the
    /// caller has the method's permission on the site.
    ///
    /// # Errors
    /// [`Error::TokenMissing`] or [`Error::PermissionDenied`].
    pub fn origin(
        self,
        site: Site,
        request: Option<RequestMark>,
        size: usize,
    ) -> Result<Origin, Error> {
        self.caller.authorize(&site)?;
        let principal = self.caller.principal().ok_or(Error::TokenMissing)?;
        Ok(Origin {
            site,
            actor: principal.id.clone(),
            request,
            deadline: self.deadline,
            traceparent: self.traceparent,
            size,
        })
    }
}

/// Reads a request's id and marks the request with it, so that a retry is known as
/// one. Give it the message with `request_id` and `position` taken out: they may
/// differ between a request and its retry.
pub fn mark(
    fields: &mut Fields,
    keys: &Keys,
    request_id: &str,
    rpc: &'static str,
    message: &impl prost::Message,
) -> Option<Option<RequestMark>> {
    let id = fields.optional_id("request_id", request_id)?;
    Some(id.map(|id| RequestMark { id, hash: keys.request_hash(rpc, &message.encode_to_vec()) }))
}
