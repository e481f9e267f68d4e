use std::mem::take;

use agora_proto::post::v1::{
    GetPostRequest, GetPostResponse, ListPostsRequest, ListPostsResponse, get_post_request,
};
use chassis::{
    Call,
    fields::{Fields, Limit},
    page,
};
use eventstore::Position;

use super::{Service, encode};
use crate::{
    Error, domain,
    store::{Cursor, Key, Page, Read as _, Store},
};

impl<S: Store> Service<S> {
    pub(super) async fn get(
        &self,
        call: Call,
        message: GetPostRequest,
    ) -> Result<GetPostResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let position = Position::read(&mut fields, &message.position);
        let key = match &message.key {
            Some(get_post_request::Key::PostId(id)) => fields.id("post_id", id).map(Key::Id),
            Some(get_post_request::Key::ExternalKey(key)) => {
                let limit = Limit { may_be_empty: false, ..domain::EXTERNAL_KEY };
                fields.text("external_key", key, limit).map(Key::External)
            }
            None => {
                fields.refuse("post_id", "or external_key must be given");
                None
            }
        };
        let (Some(site), Some(position), Some(key)) = (site, position, key) else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;

        let read = || self.reader.post(&site, &key);
        let (post, reached) = self.watermarks.read(&position, call.deadline, read).await?;
        let post = post.ok_or(Error::PostNotFound)?;
        Ok(GetPostResponse { post: Some(encode::post(post)), position: reached.to_string() })
    }

    pub(super) async fn list(
        &self,
        call: Call,
        mut message: ListPostsRequest,
    ) -> Result<ListPostsResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let position = Position::read(&mut fields, &take(&mut message.position));
        let size = fields.page_size("page_size", take(&mut message.page_size));
        let token = take(&mut message.page_token);
        let (Some(site), Some(position), Some(size)) = (site, position, size) else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;
        let query = page::query("ListPosts", &message);
        let after: Option<Cursor> = self.sealer.open_next(&query, &token)?;

        let read = || self.reader.posts(&site, after, size);
        let (found, reached) = self.watermarks.read(&position, call.deadline, read).await?;
        let Page { posts, is_last } = found;
        let next = posts.last().filter(|_| !is_last);
        let cursor = next.map(|post| Cursor::after(post.create_time, post.id));
        Ok(ListPostsResponse {
            posts: posts.into_iter().map(encode::post).collect(),
            next_page_token: self.sealer.seal_next(&query, cursor.as_ref()),
            position: reached.to_string(),
        })
    }
}
