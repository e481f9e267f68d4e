use std::mem::take;

use agora_proto::query::v1::{
    GetThreadRequest, GetThreadResponse, ThreadOrder, get_thread_request::Post,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use chassis::{
    Call, Position,
    auth::Permission,
    fields::{Fields, Limit, Max},
    page,
};
use prost::Message as _;

use super::{Service, encode};
use crate::{
    Error,
    pages::Page,
    store::{Absent, PostKey, Viewer, Wanted},
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
        let reached = self.watermarks.wait(&parsed.position, call.deadline).await?;
        let answer = self.read(&parsed).await?;
        Ok(GetThreadResponse { position: reached.to_string(), ..answer })
    }

    /// A page of a thread, encoded; pages that everybody sees are kept.
    pub(super) async fn encoded_thread(
        &self,
        call: Call,
        mut message: GetThreadRequest,
    ) -> Result<Bytes, Error> {
        let is_public = call.caller.id().is_none() && !message.include_hidden;
        if !is_public {
            return Ok(self.thread(call, message).await?.encode_to_vec().into());
        }
        let position = take(&mut message.position);
        let key = Bytes::from(message.encode_to_vec());
        message.position = position;
        if message.position.is_empty()
            && let Some(page) = self.pages.get(&key)
        {
            return Ok(with_position(&page.bytes, self.watermarks.reached()));
        }

        let parsed = self.parse(&call, message)?;
        let reached = self.watermarks.wait(&parsed.position, call.deadline).await?;
        let page = match self.pages.get(&key) {
            Some(page) => page,
            None => {
                let read_at = self.pages.now();
                let answer = self.read(&parsed).await?;
                let id = answer.post.as_ref().map(|post| post.post_id.parse());
                let bytes = Bytes::from(answer.encode_to_vec());
                let Some(Ok(post_id)) = id else { return Ok(with_position(&bytes, reached)) };
                let page = Page { post_id, bytes, read_at };
                self.pages.keep(key, page.clone());
                page
            }
        };
        Ok(with_position(&page.bytes, reached))
    }

    fn parse(&self, call: &Call, mut message: GetThreadRequest) -> Result<Parsed, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let position = fields.position(&take(&mut message.position));
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
        let query = page::query("GetThread", &message);
        let sealed: Option<Sealed> = self.sealer.open_next(&query, &token)?;
        let site = site.to_string();
        let cursor = sealed.map(Cursor::from);
        let wanted = Wanted { site, post, viewer, order, roots, replies_per_root, cursor };
        Ok(Parsed { wanted, position, query })
    }

    /// Reads a page; the answer has no position.
    async fn read(
        &self,
        Parsed { wanted, query, .. }: &Parsed,
    ) -> Result<GetThreadResponse, Error> {
        let page = self.reader.thread(wanted).await?.map_err(|absent| match absent {
            Absent::Post => Error::PostNotFound,
            Absent::Comment => Error::CommentNotFound,
        })?;
        let seal = |cursor: Option<Cursor>| {
            self.sealer.seal_next(query, cursor.map(Sealed::from).as_ref())
        };
        let comments = page.comments.into_iter().map(|entry| {
            let token = seal(entry.next);
            encode::comment(entry.seen, token)
        });
        Ok(GetThreadResponse {
            comments: comments.collect(),
            post: Some(encode::post(page.post)),
            next_page_token: seal(page.next),
            position: String::new(),
        })
    }
}

/// An encoded answer with its position: in protobuf a field may stand after the others.
fn with_position(page: &Bytes, position: Position) -> Bytes {
    let position = GetThreadResponse { position: position.to_string(), ..Default::default() };
    let mut bytes = BytesMut::with_capacity(page.len() + position.encoded_len());
    bytes.put_slice(page);
    position.encode(&mut bytes).expect("the buffer has room");
    bytes.freeze()
}
