use std::mem::take;

use agora_proto::comment::v1::{
    Attribution, CreateCommentRequest, CreateCommentResponse, DeleteCommentRequest,
    DeleteCommentResponse, UpdateCommentRequest, UpdateCommentResponse,
};
use bus_schema::{CommentId, RequestMark, Site, Time};
use chassis::{
    Call, Position,
    auth::Permission,
    call::{Origin, mark},
    committer::Committed,
    fields::{AUTHOR_ID, AUTHOR_NAME, Fields},
};

use super::{Service, encode};
use crate::{
    Error,
    domain::{self, Actor, Author, Change, Command, Create, Reply},
    store::Store,
};

/// How many bytes a command without a text holds in the queue.
const SMALL: usize = 256;

/// What every change of a comment has.
struct Target {
    site: Site,
    comment_id: CommentId,
    revision: Option<u32>,
    request: Option<RequestMark>,
    position: Position,
}

impl<S: Store> Service<S> {
    pub(super) async fn create(
        &self,
        call: Call,
        mut message: CreateCommentRequest,
    ) -> Result<CreateCommentResponse, Error> {
        let mut fields = Fields::new();
        let position = fields.position(&take(&mut message.position));
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "CreateComment", &message);
        let site = fields.site("site", &message.site);
        let post_id = fields.id("post_id", &message.post_id);
        let parent_id = fields.optional_id("parent_id", &message.parent_id);
        let body = fields.text("body", &message.body, domain::BODY);
        let written = written(&mut fields, &call, message.attribution.as_ref());
        let (Some(position), Some(request), Some(site)) = (position, request, site) else {
            return Err(fields.into_error().into());
        };
        let (Some(post_id), Some(parent_id), Some(body), Some((author, create_time))) =
            (post_id, parent_id, body, written)
        else {
            return Err(fields.into_error().into());
        };
        fields.finish()?;
        if message.attribution.is_some() {
            call.caller.require(Permission::Import, &site)?;
        }

        let origin = call.origin(site, "comment_created", request, SMALL + body.len())?;
        self.watermarks.wait(&position, origin.deadline).await?;
        let create = Create {
            comment_id: CommentId::new(),
            post_id,
            parent_id,
            body,
            author,
            create_time,
            asked: None,
        };
        let Committed { reply, position } = self.submit_create(origin, create).await?;
        let comment = Some(encode::reply(reply));
        Ok(CreateCommentResponse { comment, position: position.to_string() })
    }

    /// Has a comment created. If its post was not heard of, the post service is asked,
    /// once, and the command decided again with its answer.
    async fn submit_create(
        &self,
        origin: Origin,
        create: Create,
    ) -> Result<Committed<Reply>, Error> {
        let first = self.committer.submit(origin.clone(), Command::Create(create.clone())).await;
        let Err(Error::PostNotHeardOf) = first else { return first };

        let (state, asked) = self.posts.ask(&origin.site, create.post_id).await?;
        let create = Create { asked: Some(state), ..create };
        let Committed { reply, position } =
            self.committer.submit(origin, Command::Create(create)).await?;
        Ok(Committed { reply, position: position.merge(asked) })
    }

    pub(super) async fn update(
        &self,
        call: Call,
        mut message: UpdateCommentRequest,
    ) -> Result<UpdateCommentResponse, Error> {
        let mut fields = Fields::new();
        let position = take(&mut message.position);
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "UpdateComment", &message);
        let (site, id) = (&message.site, &message.comment_id);
        let target = target(&mut fields, site, id, message.revision, request, &position);
        let body = fields.text("body", &message.body, domain::BODY);
        let (Some(target), Some(body)) = (target, body) else {
            return Err(fields.into_error().into());
        };
        fields.finish()?;
        let size = SMALL + body.len();
        let Committed { reply, position } =
            self.change(call, target, "comment_updated", Change::Update { body }, size).await?;
        let comment = Some(encode::reply(reply));
        Ok(UpdateCommentResponse { comment, position: position.to_string() })
    }

    pub(super) async fn delete(
        &self,
        call: Call,
        mut message: DeleteCommentRequest,
    ) -> Result<DeleteCommentResponse, Error> {
        let mut fields = Fields::new();
        let position = take(&mut message.position);
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "DeleteComment", &message);
        let (site, id) = (&message.site, &message.comment_id);
        let target = target(&mut fields, site, id, message.revision, request, &position);
        let Some(target) = target else { return Err(fields.into_error().into()) };
        fields.finish()?;
        let Committed { reply, position } =
            self.change(call, target, "comment_deleted", Change::Delete, SMALL).await?;
        let comment = Some(encode::reply(reply));
        Ok(DeleteCommentResponse { comment, position: position.to_string() })
    }

    async fn change(
        &self,
        call: Call,
        target: Target,
        method: &'static str,
        change: Change,
        size: usize,
    ) -> Result<Committed<Reply>, Error> {
        let Target { site, comment_id, revision, request, position } = target;
        let administers = call.caller.may(Permission::Administer, &site);
        let origin = call.origin(site, method, request, size)?;
        self.watermarks.wait(&position, origin.deadline).await?;
        let actor = Actor { id: origin.actor.clone(), administers };
        let command = Command::Change { comment_id, actor, revision, change };
        self.committer.submit(origin, command).await
    }
}

fn target(
    fields: &mut Fields,
    site: &str,
    comment_id: &str,
    revision: u32,
    request: Option<Option<RequestMark>>,
    position: &str,
) -> Option<Target> {
    let site = fields.site("site", site);
    let comment_id = fields.id("comment_id", comment_id);
    let position = fields.position(position);
    Some(Target {
        site: site?,
        comment_id: comment_id?,
        revision: Some(revision).filter(|revision| *revision > 0),
        request: request?,
        position: position?,
    })
}

/// Who wrote a new comment, and when if it was not now: the caller, or whom an import
/// names.
fn written(
    fields: &mut Fields,
    call: &Call,
    attribution: Option<&Attribution>,
) -> Option<(Author, Option<Time>)> {
    let Some(attribution) = attribution else {
        let (id, name) = call.caller.principal().map_or_else(Default::default, |principal| {
            (principal.id.clone(), principal.name.clone())
        });
        return Some((Author { id, name }, None));
    };
    let id = fields.text("attribution.author_id", &attribution.author_id, AUTHOR_ID);
    let name = fields.text("attribution.author_name", &attribution.author_name, AUTHOR_NAME);
    let time = fields.past_time("attribution.create_time", attribution.create_time.as_ref());
    Some((Author { id: id?, name: name? }, Some(time?)))
}
