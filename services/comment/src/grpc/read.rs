use std::mem::take;

use agora_proto::comment::v1::{
    GetCommentRequest, GetCommentResponse, ListCommentsRequest, ListCommentsResponse,
};
use bus_schema::Site;
use chassis::{Call, auth::Permission, fields::Fields, page};
use eventstore::Position;

use super::{Service, encode};
use crate::{
    Error,
    store::{Cursor, Page, Read as _, Store, Viewer},
};

impl<S: Store> Service<S> {
    pub(super) async fn get(
        &self,
        call: Call,
        message: GetCommentRequest,
    ) -> Result<GetCommentResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let id = fields.id("comment_id", &message.comment_id);
        let position = Position::read(&mut fields, &message.position);
        let (Some(site), Some(id), Some(position)) = (site, id, position) else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;

        let viewer = viewer(&call, &site);
        let read = || self.reader.comment(&site, id, &viewer);
        let (found, reached) = self.watermarks.read(&position, call.deadline, read).await?;
        let comment = Some(encode::seen(found.ok_or(Error::CommentNotFound)?));
        Ok(GetCommentResponse { comment, position: reached.to_string() })
    }

    pub(super) async fn list(
        &self,
        call: Call,
        mut message: ListCommentsRequest,
    ) -> Result<ListCommentsResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let post_id = fields.id("post_id", &message.post_id);
        let position = Position::read(&mut fields, &take(&mut message.position));
        let size = fields.page_size("page_size", take(&mut message.page_size));
        let token = take(&mut message.page_token);
        let (Some(site), Some(post_id), Some(position), Some(size)) =
            (site, post_id, position, size)
        else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;
        let query = page::query("ListComments", &message);
        let after: Option<Cursor> = self.sealer.open_next(&query, &token)?;

        let viewer = viewer(&call, &site);
        let read = || async {
            let page = self.reader.comments(&site, post_id, &viewer, after, size).await?;
            let is_known = !page.comments.is_empty()
                || after.is_some()
                || self.reader.knows_post(&site, post_id).await?;
            Ok(is_known.then_some(page))
        };
        let (found, reached) = self.watermarks.read(&position, call.deadline, read).await?;
        let Page { comments, is_last } = found.ok_or(Error::PostNotFound)?;
        let next = comments.last().filter(|_| !is_last);
        let cursor = next.map(|seen| Cursor::after(seen.comment.create_time, seen.comment.id));
        Ok(ListCommentsResponse {
            comments: comments.into_iter().map(encode::seen).collect(),
            next_page_token: self.sealer.seal_next(&query, cursor.as_ref()),
            position: reached.to_string(),
        })
    }
}

/// What the caller may see on a site.
fn viewer(call: &Call, site: &Site) -> Viewer {
    if call.caller.may(Permission::Moderate, site) {
        return Viewer::Moderator;
    }
    Viewer::Reader { id: call.caller.id().map(str::to_owned) }
}
