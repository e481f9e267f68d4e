use std::mem::take;

use agora_proto::query::v1::{
    GetThreadRequest, GetThreadResponse, ServedFrom, ThreadOrder, get_thread_request::Post,
};
use bus_schema::PostId;
use bytes::{BufMut as _, Bytes, BytesMut};
use chassis::{
    Call,
    auth::Permission,
    failpoint,
    fields::{Fields, Limit, Max},
    page,
};
use eventstore::Position;
use prost::Message as _;

use super::{Service, encode};
use crate::{
    Error,
    pages::Page,
    store::{self, PostKey, Viewer, Wanted},
    thread::{Cursor, DEFAULT_REPLIES, MAX_REPLIES, Order, Sealed},
};

/// An external key: at most 1,024 characters, one line.
const EXTERNAL_KEY: Limit =
    Limit { may_be_empty: false, max: Max::Characters(1_024), multiline: false };

/// A request, parsed.
struct Parsed {
    wanted: Wanted,
    position: Position,
    /// What must not change between pages.
    query: Vec<u8>,
}

impl Service {
    /// A page of a thread as a message.
    pub(super) async fn thread(
        &self,
        call: Call,
        message: GetThreadRequest,
    ) -> Result<GetThreadResponse, Error> {
        let parsed = self.parse(&call, message)?;
        if let Some(owners) = self.owners() {
            let read = owners.thread(&parsed.wanted, &parsed.position, call.deadline).await?;
            let answer = self.encode(read.answer, &parsed);
            return Ok(GetThreadResponse {
                position: read.position.to_string(),
                served_from: ServedFrom::Owners.into(),
                as_of: Some(read.as_of.into()),
                ..answer
            });
        }
        let reached = self.watermarks.wait(&parsed.position, call.deadline).await?;
        let answer = self.read(&parsed).await?;
        let incomplete = post_of(&answer).is_some_and(|post| self.incomplete.has_post(post));
        Ok(GetThreadResponse {
            position: reached.to_string(),
            incomplete,
            served_from: ServedFrom::View.into(),
            as_of: self.as_of(reached),
            ..answer
        })
    }

    /// A page of a thread, encoded; pages that everybody sees are kept.
    pub(super) async fn encoded_thread(
        &self,
        call: Call,
        mut message: GetThreadRequest,
    ) -> Result<Bytes, Error> {
        let is_public = call.caller.id().is_none() && !message.include_hidden;
        if !is_public || self.owners().is_some() {
            return Ok(self.thread(call, message).await?.encode_to_vec().into());
        }
        let position = take(&mut message.position);
        let key = Bytes::from(message.encode_to_vec());
        message.position = position;
        if message.position.is_empty()
            && let Some(page) = self.pages.get(&key)
        {
            return Ok(self.complete(&page, self.watermarks.reached()));
        }

        let parsed = self.parse(&call, message)?;
        let reached = self.watermarks.wait(&parsed.position, call.deadline).await?;
        let page = match self.pages.get(&key) {
            Some(page) => page,
            None => {
                let read_at = self.pages.now();
                let answer = self.read(&parsed).await?;
                let post_id = post_of(&answer).ok_or(Error::PostNotFound)?;
                let bytes = Bytes::from(answer.encode_to_vec());
                let page = Page { post_id, bytes, read_at };
                self.pages.keep(key, page.clone());
                page
            }
        };
        Ok(self.complete(&page, reached))
    }

    /// An encoded page with what changes from answer to answer: in protobuf fields may
    /// stand after the others.
    fn complete(&self, page: &Page, position: Position) -> Bytes {
        let rest = GetThreadResponse {
            position: position.to_string(),
            incomplete: self.incomplete.has_post(page.post_id),
            served_from: ServedFrom::View.into(),
            as_of: self.as_of(position),
            ..Default::default()
        };
        let mut bytes = BytesMut::with_capacity(page.bytes.len() + rest.encoded_len());
        bytes.put_slice(&page.bytes);
        rest.encode(&mut bytes).expect("the buffer has room");
        bytes.freeze()
    }

    fn parse(&self, call: &Call, mut message: GetThreadRequest) -> Result<Parsed, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let position = Position::read(&mut fields, &take(&mut message.position));
        let roots = fields.page_size("page_size", take(&mut message.page_size));
        let token = take(&mut message.page_token);
        let replies = match message.replies_per_root.map(usize::try_from) {
            None => Some(DEFAULT_REPLIES),
            Some(Ok(replies)) => Some(replies.min(MAX_REPLIES)),
            Some(Err(_)) => {
                fields.refuse("replies_per_root", format!("must be between 0 and {MAX_REPLIES}"));
                None
            }
        };
        let post = match &message.post {
            Some(Post::PostId(id)) => fields.id("post_id", id).map(PostKey::Id),
            Some(Post::ExternalKey(key)) => {
                fields.text("external_key", key, EXTERNAL_KEY).map(PostKey::External)
            }
            None => {
                fields.refuse("post_id", "or external_key must be given");
                None
            }
        };
        let order = match message.order() {
            ThreadOrder::Unspecified | ThreadOrder::NewestFirst => Order::NewestFirst,
            ThreadOrder::OldestFirst => Order::OldestFirst,
        };
        let (Some(site), Some(position), Some(roots), Some(replies_per_root), Some(post)) =
            (site, position, roots, replies, post)
        else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;
        let viewer = if message.include_hidden {
            call.caller.require(Permission::Moderate, &site)?;
            Viewer::Moderator
        } else {
            call.caller.id().map_or(Viewer::Public, |id| Viewer::Author(id.to_owned()))
        };
        let viewer = failpoint!(ViewWithoutApproval => Viewer::Moderator, else viewer);
        let query = page::query("GetThread", &message);
        let sealed: Option<Sealed> = self.sealer.open_next(&query, &token)?;
        let site = site.to_string();
        let cursor = sealed.map(Cursor::from);
        let wanted = Wanted { site, post, viewer, order, roots, replies_per_root, cursor };
        Ok(Parsed { wanted, position, query })
    }

    /// Reads a page; what changes from answer to answer is not in it.
    async fn read(&self, parsed: &Parsed) -> Result<GetThreadResponse, Error> {
        let page = self.reader.thread(&parsed.wanted).await??;
        Ok(self.encode(page, parsed))
    }

    fn encode(&self, page: store::Page, Parsed { query, .. }: &Parsed) -> GetThreadResponse {
        let seal = |cursor: Option<Cursor>| {
            self.sealer.seal_next(query, cursor.map(Sealed::from).as_ref())
        };
        let comments = page.comments.into_iter().map(|entry| {
            let token = seal(entry.next);
            encode::comment(entry.seen, token)
        });
        GetThreadResponse {
            comments: comments.collect(),
            post: Some(encode::post(page.post)),
            next_page_token: seal(page.next),
            ..Default::default()
        }
    }
}

/// The post that an answer shows.
fn post_of(answer: &GetThreadResponse) -> Option<PostId> {
    answer.post.as_ref()?.post_id.parse().ok()
}
