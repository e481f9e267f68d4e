use agora_proto::{
    Mutation as Message,
    post::v1::{
        self as proto, Attribution, ClosePostRequest, ClosePostResponse, CreatePostRequest,
        CreatePostResponse, DeletePostRequest, DeletePostResponse, ReopenPostRequest,
        ReopenPostResponse, UpdatePostRequest, UpdatePostResponse,
    },
};
use bus_schema::PostId;
use chassis::{
    Call,
    fields::{Attributed, Fields},
};
use eventstore::{committer::Committed, mutation::Mutation};

use super::{Service, encode};
use crate::{
    Error,
    domain::{self, Change, Command, Text},
    store::Store,
};

/// What a new post is to be.
struct Create {
    external_key: Option<String>,
    text: Text,
    attribution: Option<Attributed>,
}

/// What is to change of which post.
struct Target {
    post_id: PostId,
    revision: Option<u32>,
    change: Change,
}

impl<S: Store> Service<S> {
    pub(super) async fn create(
        &self,
        call: Call,
        message: CreatePostRequest,
    ) -> Result<CreatePostResponse, Error> {
        let mutation = Mutation::parse(call, &self.keys, message, create)?;
        let (author, create_time) = mutation.written(mutation.asked().attribution.as_ref())?;
        let (origin, Create { external_key, text, .. }) = mutation.admit(&self.watermarks).await?;
        let command = Command::Create {
            post_id: PostId::new(),
            site: origin.site.clone(),
            external_key,
            text,
            author,
            create_time,
        };
        let Committed { reply, position } = self.committer.submit(origin, command).await?;
        let post = Some(encode::post(reply));
        Ok(CreatePostResponse { post, position: position.to_string() })
    }

    pub(super) async fn update(
        &self,
        call: Call,
        message: UpdatePostRequest,
    ) -> Result<UpdatePostResponse, Error> {
        let parse = |fields: &mut Fields, message: &UpdatePostRequest| {
            target(fields, &message.post_id, message.revision, |fields| update(fields, message))
        };
        let (post, position) = self.change(call, message, parse).await?;
        Ok(UpdatePostResponse { post, position })
    }

    pub(super) async fn delete(
        &self,
        call: Call,
        message: DeletePostRequest,
    ) -> Result<DeletePostResponse, Error> {
        let parse = |fields: &mut Fields, message: &DeletePostRequest| {
            target(fields, &message.post_id, message.revision, |_| Some(Change::Delete))
        };
        let (post, position) = self.change(call, message, parse).await?;
        Ok(DeletePostResponse { post, position })
    }

    pub(super) async fn close(
        &self,
        call: Call,
        message: ClosePostRequest,
    ) -> Result<ClosePostResponse, Error> {
        let parse = |fields: &mut Fields, message: &ClosePostRequest| {
            target(fields, &message.post_id, 0, |_| Some(Change::Close))
        };
        let (post, position) = self.change(call, message, parse).await?;
        Ok(ClosePostResponse { post, position })
    }

    pub(super) async fn reopen(
        &self,
        call: Call,
        message: ReopenPostRequest,
    ) -> Result<ReopenPostResponse, Error> {
        let parse = |fields: &mut Fields, message: &ReopenPostRequest| {
            target(fields, &message.post_id, 0, |_| Some(Change::Reopen))
        };
        let (post, position) = self.change(call, message, parse).await?;
        Ok(ReopenPostResponse { post, position })
    }

    /// Has a post changed: the post, and the position that includes the change.
    async fn change<M: Message>(
        &self,
        call: Call,
        message: M,
        parse: impl FnOnce(&mut Fields, &M) -> Option<Target>,
    ) -> Result<(Option<proto::Post>, String), Error> {
        let mutation = Mutation::parse(call, &self.keys, message, parse)?;
        let actor = mutation.actor()?;
        let (origin, target) = mutation.admit(&self.watermarks).await?;
        let Target { post_id, revision, change } = target;
        let command = Command::Change { post_id, actor, revision, change };
        let Committed { reply, position } = self.committer.submit(origin, command).await?;
        Ok((Some(encode::post(reply)), position.to_string()))
    }
}

fn create(fields: &mut Fields, message: &CreatePostRequest) -> Option<Create> {
    let key = fields.text("external_key", &message.external_key, domain::EXTERNAL_KEY);
    let title = fields.text("title", &message.title, domain::TITLE);
    let body = fields.text("body", &message.body, domain::BODY);
    let attribution = match &message.attribution {
        None => Some(None),
        Some(Attribution { author_id, author_name, create_time }) => {
            fields.attribution(author_id, author_name, create_time.as_ref()).map(Some)
        }
    };
    Some(Create {
        external_key: Some(key?).filter(|key| !key.is_empty()),
        text: Text { title: title?, body: body? },
        attribution: attribution?,
    })
}

/// A change of a post, on a revision if that is not 0.
fn target(
    fields: &mut Fields,
    post_id: &str,
    revision: u32,
    change: impl FnOnce(&mut Fields) -> Option<Change>,
) -> Option<Target> {
    let post_id = fields.id("post_id", post_id);
    let change = change(fields);
    let revision = Some(revision).filter(|revision| *revision > 0);
    Some(Target { post_id: post_id?, revision, change: change? })
}

/// What an update changes: what its mask names, or every field that is not empty.
fn update(fields: &mut Fields, message: &UpdatePostRequest) -> Option<Change> {
    let (title, body) = masked(fields, message)?;
    let text = |fields: &mut Fields, wanted, field, value, limit| match wanted {
        false => Some(None),
        true => fields.text(field, value, limit).map(Some),
    };
    let title = text(fields, title, "title", &message.title, domain::TITLE);
    let body = text(fields, body, "body", &message.body, domain::BODY);
    Some(Change::Update { title: title?, body: body? })
}

/// Whether title and body are to change.
fn masked(fields: &mut Fields, message: &UpdatePostRequest) -> Option<(bool, bool)> {
    let (mut title, mut body) = (false, false);
    match &message.update_mask {
        None => (title, body) = (!message.title.is_empty(), !message.body.is_empty()),
        Some(mask) => {
            for path in &mask.paths {
                match path.as_str() {
                    "title" => title = true,
                    "body" => body = true,
                    "*" => (title, body) = (true, true),
                    _ => {
                        fields.refuse("update_mask", "can name title and body, or *");
                        return None;
                    }
                }
            }
        }
    }
    if !title && !body {
        fields.refuse("update_mask", "must name at least one field to change");
        return None;
    }
    Some((title, body))
}
