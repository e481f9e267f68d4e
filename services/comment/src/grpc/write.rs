use agora_proto::{
    Mutation as Message,
    comment::v1::{
        self as proto, Attribution, CreateCommentRequest, CreateCommentResponse,
        DeleteCommentRequest, DeleteCommentResponse, UpdateCommentRequest, UpdateCommentResponse,
    },
};
use bus_schema::{CommentId, PostId};
use chassis::{
    Call,
    call::Origin,
    fields::{Attributed, Fields},
};
use eventstore::{committer::Committed, mutation::Mutation};

use super::{Service, encode};
use crate::{
    Error,
    domain::{self, Change, Command, Create, Reply},
    store::Store,
};

/// What a new comment is to be.
struct New {
    post_id: PostId,
    parent_id: Option<CommentId>,
    body: String,
    attribution: Option<Attributed>,
}

/// What is to change of which comment.
struct Target {
    comment_id: CommentId,
    revision: Option<u32>,
    change: Change,
}

impl<S: Store> Service<S> {
    pub(super) async fn create(
        &self,
        call: Call,
        message: CreateCommentRequest,
    ) -> Result<CreateCommentResponse, Error> {
        let mutation = Mutation::parse(call, &self.keys, message, create)?;
        let (author, create_time) = mutation.written(mutation.asked().attribution.as_ref())?;
        let (origin, new) = mutation.admit(&self.watermarks).await?;
        let New { post_id, parent_id, body, .. } = new;
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
        message: UpdateCommentRequest,
    ) -> Result<UpdateCommentResponse, Error> {
        let parse = |fields: &mut Fields, message: &UpdateCommentRequest| {
            target(fields, &message.comment_id, message.revision, |fields| {
                let body = fields.text("body", &message.body, domain::BODY)?;
                Some(Change::Update { body })
            })
        };
        let (comment, position) = self.change(call, message, parse).await?;
        Ok(UpdateCommentResponse { comment, position })
    }

    pub(super) async fn delete(
        &self,
        call: Call,
        message: DeleteCommentRequest,
    ) -> Result<DeleteCommentResponse, Error> {
        let parse = |fields: &mut Fields, message: &DeleteCommentRequest| {
            target(fields, &message.comment_id, message.revision, |_| Some(Change::Delete))
        };
        let (comment, position) = self.change(call, message, parse).await?;
        Ok(DeleteCommentResponse { comment, position })
    }

    /// Has a comment changed: the comment, and the position that includes the change.
    async fn change<M: Message>(
        &self,
        call: Call,
        message: M,
        parse: impl FnOnce(&mut Fields, &M) -> Option<Target>,
    ) -> Result<(Option<proto::Comment>, String), Error> {
        let mutation = Mutation::parse(call, &self.keys, message, parse)?;
        let actor = mutation.actor()?;
        let (origin, target) = mutation.admit(&self.watermarks).await?;
        let Target { comment_id, revision, change } = target;
        let command = Command::Change { comment_id, actor, revision, change };
        let Committed { reply, position } = self.committer.submit(origin, command).await?;
        Ok((Some(encode::reply(reply)), position.to_string()))
    }
}

fn create(fields: &mut Fields, message: &CreateCommentRequest) -> Option<New> {
    let post_id = fields.id("post_id", &message.post_id);
    let parent_id = fields.optional_id("parent_id", &message.parent_id);
    let body = fields.text("body", &message.body, domain::BODY);
    let attribution = match &message.attribution {
        None => Some(None),
        Some(Attribution { author_id, author_name, create_time }) => {
            fields.attribution(author_id, author_name, create_time.as_ref()).map(Some)
        }
    };
    Some(New { post_id: post_id?, parent_id: parent_id?, body: body?, attribution: attribution? })
}

/// A change of a comment, on a revision if that is not 0.
fn target(
    fields: &mut Fields,
    comment_id: &str,
    revision: u32,
    change: impl FnOnce(&mut Fields) -> Option<Change>,
) -> Option<Target> {
    let comment_id = fields.id("comment_id", comment_id);
    let change = change(fields);
    let revision = Some(revision).filter(|revision| *revision > 0);
    Some(Target { comment_id: comment_id?, revision, change: change? })
}
