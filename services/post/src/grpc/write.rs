use std::mem::take;

use agora_proto::post::v1::{
    Attribution, ClosePostRequest, ClosePostResponse, CreatePostRequest, CreatePostResponse,
    DeletePostRequest, DeletePostResponse, ReopenPostRequest, ReopenPostResponse,
    UpdatePostRequest, UpdatePostResponse,
};
use bus_schema::{PostId, RequestMark, Site, Time};
use chassis::{
    Call, Position,
    auth::Permission,
    call::mark,
    committer::Committed,
    fields::{AUTHOR_ID, AUTHOR_NAME, Fields},
};
use prost::Message as _;

use super::{Service, encode};
use crate::{
    Error,
    domain::{self, Actor, Author, Change, Command, Post, Text},
    store::Store,
};

/// How many bytes a command holds in the queue besides what its request brings.
const SMALL: usize = 256;

/// What every change of a post has.
struct Target {
    site: Site,
    post_id: PostId,
    revision: Option<u32>,
    request: Option<RequestMark>,
    position: Position,
}

impl<S: Store> Service<S> {
    pub(super) async fn create(
        &self,
        call: Call,
        mut message: CreatePostRequest,
    ) -> Result<CreatePostResponse, Error> {
        let mut fields = Fields::new();
        let position = fields.position(&take(&mut message.position));
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "CreatePost", &message);
        let site = fields.site("site", &message.site);
        let key = fields.text("external_key", &message.external_key, domain::EXTERNAL_KEY);
        let title = fields.text("title", &message.title, domain::TITLE);
        let body = fields.text("body", &message.body, domain::BODY);
        let written = written(&mut fields, &call, message.attribution.as_ref());
        let (Some(position), Some(request), Some(site)) = (position, request, site) else {
            return Err(fields.into_error().into());
        };
        let (Some(key), Some(title), Some(body), Some((author, create_time))) =
            (key, title, body, written)
        else {
            return Err(fields.into_error().into());
        };
        if message.attribution.is_some() {
            call.caller.require(Permission::Import, &site)?;
        }

        let size = SMALL + message.encoded_len();
        let origin = call.origin(site.clone(), "post_created", request, size)?;
        self.watermarks.wait(&position, origin.deadline).await?;
        let command = Command::Create {
            post_id: PostId::new(),
            site,
            external_key: Some(key).filter(|key| !key.is_empty()),
            text: Text { title, body },
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
        mut message: UpdatePostRequest,
    ) -> Result<UpdatePostResponse, Error> {
        let mut fields = Fields::new();
        let position = take(&mut message.position);
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "UpdatePost", &message);
        let target = target(
            &mut fields,
            &message.site,
            &message.post_id,
            message.revision,
            request,
            &position,
        );
        let change = update(&mut fields, &message);
        let (Some(target), Some(change)) = (target, change) else {
            return Err(fields.into_error().into());
        };
        let size = SMALL + message.encoded_len();
        let Committed { reply, position } =
            self.change(call, target, "post_updated", change, size).await?;
        let post = Some(encode::post(reply));
        Ok(UpdatePostResponse { post, position: position.to_string() })
    }

    pub(super) async fn delete(
        &self,
        call: Call,
        mut message: DeletePostRequest,
    ) -> Result<DeletePostResponse, Error> {
        let mut fields = Fields::new();
        let position = take(&mut message.position);
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "DeletePost", &message);
        let (site, id) = (&message.site, &message.post_id);
        let target = target(&mut fields, site, id, message.revision, request, &position)
            .ok_or_else(|| fields.into_error())?;
        let Committed { reply, position } =
            self.change(call, target, "post_deleted", Change::Delete, SMALL).await?;
        let post = Some(encode::post(reply));
        Ok(DeletePostResponse { post, position: position.to_string() })
    }

    pub(super) async fn close(
        &self,
        call: Call,
        mut message: ClosePostRequest,
    ) -> Result<ClosePostResponse, Error> {
        let mut fields = Fields::new();
        let position = take(&mut message.position);
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "ClosePost", &message);
        let target = target(&mut fields, &message.site, &message.post_id, 0, request, &position)
            .ok_or_else(|| fields.into_error())?;
        let Committed { reply, position } =
            self.change(call, target, "post_closed", Change::Close, SMALL).await?;
        let post = Some(encode::post(reply));
        Ok(ClosePostResponse { post, position: position.to_string() })
    }

    pub(super) async fn reopen(
        &self,
        call: Call,
        mut message: ReopenPostRequest,
    ) -> Result<ReopenPostResponse, Error> {
        let mut fields = Fields::new();
        let position = take(&mut message.position);
        let request_id = take(&mut message.request_id);
        let request = mark(&mut fields, &self.keys, &request_id, "ReopenPost", &message);
        let target = target(&mut fields, &message.site, &message.post_id, 0, request, &position)
            .ok_or_else(|| fields.into_error())?;
        let Committed { reply, position } =
            self.change(call, target, "post_reopened", Change::Reopen, SMALL).await?;
        let post = Some(encode::post(reply));
        Ok(ReopenPostResponse { post, position: position.to_string() })
    }

    async fn change(
        &self,
        call: Call,
        target: Target,
        method: &'static str,
        change: Change,
        size: usize,
    ) -> Result<Committed<Post>, Error> {
        let Target { site, post_id, revision, request, position } = target;
        let administers = call.caller.may(Permission::Administer, &site);
        let origin = call.origin(site, method, request, size)?;
        self.watermarks.wait(&position, origin.deadline).await?;
        let actor = Actor { id: origin.actor.clone(), administers };
        let command = Command::Change { post_id, actor, revision, change };
        self.committer.submit(origin, command).await
    }
}

fn target(
    fields: &mut Fields,
    site: &str,
    post_id: &str,
    revision: u32,
    request: Option<Option<RequestMark>>,
    position: &str,
) -> Option<Target> {
    let site = fields.site("site", site);
    let post_id = fields.id("post_id", post_id);
    let position = fields.position(position);
    Some(Target {
        site: site?,
        post_id: post_id?,
        revision: Some(revision).filter(|revision| *revision > 0),
        request: request?,
        position: position?,
    })
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

/// Who wrote a new post, and when if that was earlier: the caller, or whom an import
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
    let create_time = match &attribution.create_time {
        None => Some(None),
        time => fields.past_time("attribution.create_time", time.as_ref()).map(Some),
    };
    Some((Author { id: id?, name: name? }, create_time?))
}
