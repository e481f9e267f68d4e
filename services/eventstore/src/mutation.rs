//! The way of a request that changes something, from its message to its command: the same
//! in every service.

use agora_proto::Mutation as Message;
use bus_schema::{Author, RequestMark, Site, Time};

use crate::{Position, Watermarks};
use chassis::{
    Call, Error, Keys,
    auth::Permission,
    call::{Actor, Origin, mark},
    fields::{Attributed, Fields},
};

/// How many bytes a command holds in the committer's queue besides what its request brings.
const SMALL: usize = 256;

/// A request that changes something, parsed.
#[derive(Debug)]
pub struct Mutation<T> {
    call: Call,
    site: Site,
    request: Option<RequestMark>,
    position: Position,
    size: usize,
    asked: T,
}

impl<T> Mutation<T> {
    /// Takes a request apart. `parse` reads what is particular to it: nothing if any of it
    /// is wrong.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every violation, in whichever part.
    pub fn parse<M: Message>(
        call: Call,
        keys: &Keys,
        mut message: M,
        parse: impl FnOnce(&mut Fields, &M) -> Option<T>,
    ) -> Result<Self, Error> {
        let mut fields = Fields::new();
        // A request and its retry may differ in these two.
        let position = Position::read(&mut fields, &message.take_position());
        let request_id = message.take_request_id();
        let request = mark(&mut fields, keys, &request_id, M::RPC, &message);
        let site = fields.site("site", message.site());
        let asked = parse(&mut fields, &message);
        let size = SMALL + message.encoded_len();
        let (Some(position), Some(request), Some(site), Some(asked)) =
            (position, request, site, asked)
        else {
            return Err(fields.into_error());
        };
        fields.finish()?;
        Ok(Self { call, site, request, position, size, asked })
    }

    /// What is asked for.
    pub const fn asked(&self) -> &T {
        &self.asked
    }

    /// Who asks.
    ///
    /// # Errors
    /// [`Error::TokenMissing`].
    pub fn actor(&self) -> Result<Actor, Error> {
        let principal = self.call.caller.principal().ok_or(Error::TokenMissing)?;
        let administers = self.call.caller.may(Permission::Administer, &self.site);
        Ok(Actor { id: principal.id.clone(), administers })
    }

    /// Who wrote what is new, and when if that was earlier: who asks, or whom an import
    /// names.
    ///
    /// # Errors
    /// [`Error::TokenMissing`], or [`Error::PermissionDenied`] for an attribution by one who
    /// may not import.
    pub fn written(
        &self,
        attribution: Option<&Attributed>,
    ) -> Result<(Author, Option<Time>), Error> {
        if let Some(Attributed { author, create_time }) = attribution {
            self.call.caller.require(Permission::Import, &self.site)?;
            return Ok((author.clone(), *create_time));
        }
        let principal = self.call.caller.principal().ok_or(Error::TokenMissing)?;
        Ok((Author { id: principal.id.clone(), name: principal.name.clone() }, None))
    }

    /// Lets the request through to the committer: with the method's permission on the site,
    /// and once the service is as far as the request wants.
    ///
    /// # Errors
    /// [`Error::TokenMissing`], [`Error::PermissionDenied`], or as [`Watermarks::wait`].
    pub async fn admit(self, watermarks: &Watermarks) -> Result<(Origin, T), Error> {
        let Self { call, site, request, position, size, asked } = self;
        let origin = call.origin(site, request, size)?;
        watermarks.wait(&position, origin.deadline).await?;
        Ok((origin, asked))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc, time::Duration};

    use agora_proto::{moderation::v1::SetPolicyRequest, post::v1::CreatePostRequest};
    use bus_schema::RequestId;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use chassis::auth::{Caller, Principal, Role};

    fn call() -> Call {
        let roles = HashMap::from([("blog".to_owned(), [Role::Author].into())]);
        let principal = Principal { id: "ada".into(), name: "Ada".into(), roles };
        Call {
            caller: Caller::new(Some(Arc::new(principal)), Permission::WritePost),
            deadline: Instant::now() + Duration::from_secs(60),
            traceparent: String::new(),
        }
    }

    fn parse(message: CreatePostRequest) -> Result<Mutation<String>, Error> {
        Mutation::parse(
            call(),
            &Keys::derive(&"0123456789abcdef0123456789abcdef".into()).unwrap(),
            message,
            |fields, message| fields.text("title", &message.title, chassis::fields::AUTHOR_ID),
        )
    }

    fn valid(position: &str) -> CreatePostRequest {
        CreatePostRequest {
            site: "blog".into(),
            title: "a title".into(),
            request_id: Uuid::from_bytes([1; 16]).to_string(),
            position: position.into(),
            ..Default::default()
        }
    }

    #[test]
    fn methods_have_the_names_that_retries_are_compared_by() {
        assert_eq!(CreatePostRequest::RPC, "CreatePost");
        assert_eq!(SetPolicyRequest::RPC, "SetPolicy");
    }

    #[test]
    fn a_retry_may_ask_for_another_position_and_for_nothing_else() {
        let mark = |message| parse(message).unwrap().request.unwrap();
        let first = mark(valid(""));
        assert_eq!(first.id, RequestId::from(Uuid::from_bytes([1; 16])));
        assert_eq!(mark(valid("post:7")), first);
        let other = CreatePostRequest { title: "another".into(), ..valid("") };
        assert_ne!(mark(other).hash, first.hash);
    }

    #[test]
    fn every_violation_is_told_at_once() {
        let wrong = CreatePostRequest {
            site: "Not A Slug".into(),
            title: String::new(),
            request_id: "7".into(),
            position: "?".into(),
            ..Default::default()
        };
        let Err(Error::Invalid(violations)) = parse(wrong) else { panic!("it is to be refused") };
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["position", "request_id", "site", "title"]);
    }

    #[test]
    fn a_command_holds_as_many_bytes_as_its_request_brings() {
        let small = parse(valid("")).unwrap().size;
        let large = CreatePostRequest { body: "x".repeat(10_000), ..valid("") };
        assert!(parse(large).unwrap().size >= small + 10_000);
    }
}
