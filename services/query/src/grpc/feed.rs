use std::mem::take;

use agora_proto::query::v1::{
    FeedOrder, ListFeedRequest, ListFeedResponse, ServedFrom, ThreadPost,
};
use chassis::{Call, fields::Fields, page};
use eventstore::Position;

use super::{Service, encode};
use crate::{
    Error,
    feed::{Cursor, Order},
};

impl Service {
    pub(super) async fn feed(
        &self,
        call: Call,
        mut message: ListFeedRequest,
    ) -> Result<ListFeedResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let position = Position::read(&mut fields, &take(&mut message.position));
        let size = fields.page_size("page_size", take(&mut message.page_size));
        let token = take(&mut message.page_token);
        let order = match message.order() {
            FeedOrder::Unspecified | FeedOrder::LastActivity => Order::LastActivity,
            FeedOrder::Newest => Order::Newest,
        };
        let (Some(site), Some(position), Some(size)) = (site, position, size) else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;
        let query = page::query("ListFeed", &message);
        let after: Option<Cursor> = self.sealer.open_next(&query, &token)?;

        let (site, limit) = (site.as_str(), size + 1);
        let (mut posts, answer) = if let Some(owners) = self.owners() {
            let wanted = (&position, call.deadline);
            let read = owners.feed(site, order, after, limit, wanted).await?;
            let answer = ListFeedResponse {
                position: read.position.to_string(),
                served_from: ServedFrom::Owners.into(),
                as_of: Some(read.as_of.into()),
                ..Default::default()
            };
            (read.answer, answer)
        } else {
            let reached = self.watermarks.wait(&position, call.deadline).await?;
            let posts = self.reader.feed(site, order, after, limit).await?;
            let answer = ListFeedResponse {
                position: reached.to_string(),
                incomplete: self.incomplete.has_site(site),
                served_from: ServedFrom::View.into(),
                as_of: self.as_of(reached),
                ..Default::default()
            };
            (posts, answer)
        };
        let more = posts.len() > size;
        posts.truncate(size);
        let cursor = posts.last().filter(|_| more).map(|post| Cursor::after(order, post));
        let posts =
            posts.into_iter().map(|post| ThreadPost { body: String::new(), ..encode::post(post) });
        Ok(ListFeedResponse {
            posts: posts.collect(),
            next_page_token: self.sealer.seal_next(&query, cursor.as_ref()),
            ..answer
        })
    }
}
