//! Who writes comments and replies, changes and deletes them, and reads them back.

use std::{fmt::Debug, time::Instant};

use agora_proto::{
    comment::v1::{
        Comment, CreateCommentRequest, DeleteCommentRequest, GetCommentRequest,
        UpdateCommentRequest,
    },
    query::v1::ListFeedRequest,
};
use bus_schema::Source;
use eventstore::Position;
use rand::RngExt as _;
use uuid::Uuid;

use super::{Caller, Outcome};
use crate::{
    Result,
    faults::{SITE, record::What},
};

impl Caller {
    /// Writes comments and replies, changes and deletes them, and reads them back.
    pub(super) async fn write(mut self) -> Result {
        let mut own: Vec<Comment> = Vec::new();
        while self.goes_on() {
            if self.is_taken_back() {
                own = self.known(own).await;
            }
            let dice = self.rng.random_range(0..100);
            let one = (!own.is_empty()).then(|| self.rng.random_range(0..own.len()));
            match one {
                Some(one) if dice < 12 => self.update(&mut own[one]).await?,
                Some(one) if dice < 15 => {
                    let comment = own.swap_remove(one);
                    self.delete(&comment).await?;
                }
                one => {
                    let parent = one.filter(|_| dice < 50).map(|one| own[one].clone());
                    own.extend(self.create(parent).await?);
                }
            }
            if own.len() > 200 {
                own.drain(..100);
            }
            self.rest().await;
        }
        Ok(())
    }

    /// What there still is of these comments, as it is now.
    async fn known(&self, comments: Vec<Comment>) -> Vec<Comment> {
        let mut known = Vec::new();
        for comment in comments {
            let request = GetCommentRequest {
                site: SITE.into(),
                comment_id: comment.comment_id,
                position: String::new(),
            };
            let comments = self.client.comment.clone();
            let call = |request| {
                let mut comments = comments.clone();
                async move { comments.get_comment(request).await }
            };
            if let Outcome::Done(answer) = self.until_answered(&request, call).await {
                known.extend(answer.comment);
            }
        }
        known
    }

    async fn create(&mut self, parent: Option<Comment>) -> Result<Option<Comment>> {
        let parent = parent.filter(|parent| parent.depth < 20);
        let post = self.rng.random_range(0..self.shared.posts.len());
        let text = self.rng.random_range(0..self.shared.texts.len());
        let request_id = Uuid::now_v7();
        let request = CreateCommentRequest {
            site: SITE.into(),
            post_id: match &parent {
                Some(parent) => parent.post_id.clone(),
                None => self.shared.posts[post].clone(),
            },
            parent_id: parent.map(|parent| parent.comment_id).unwrap_or_default(),
            body: self.shared.texts[text].clone(),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let (comments, begun) = (self.client.comment.clone(), Instant::now());
        let call = |request| {
            let mut comments = comments.clone();
            async move { comments.create_comment(request).await }
        };
        let answer = match self.until_answered(&request, call).await {
            Outcome::Done(answer) => answer,
            Outcome::Refused(status) => {
                self.unexpected("a comment is refused", &status);
                return Ok(None);
            }
            Outcome::GivenUp => return Ok(None),
        };
        let comment = answer.comment.clone().unwrap_or_default();
        let (id, body) = (comment.comment_id.parse()?, comment.body.clone());
        self.shared.record.acknowledged(begun, request_id, What::Comment { id, body });
        if self.rng.random_bool(0.1) {
            // A client that did not get the answer asks again.
            let again = self.until_answered(&request, call).await;
            self.must_equal(&answer.comment, again, |answer| answer.comment);
        }
        if self.rng.random_bool(0.3) {
            self.read_back(&comment, &answer.position).await?;
        }
        Ok(Some(comment))
    }

    async fn update(&mut self, comment: &mut Comment) -> Result {
        let text = self.rng.random_range(0..self.shared.texts.len());
        let request_id = Uuid::now_v7();
        let request = UpdateCommentRequest {
            site: SITE.into(),
            comment_id: comment.comment_id.clone(),
            revision: comment.revision,
            body: self.shared.texts[text].clone(),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let (comments, begun) = (self.client.comment.clone(), Instant::now());
        let call = |request| {
            let mut comments = comments.clone();
            async move { comments.update_comment(request).await }
        };
        match self.until_answered(&request, call).await {
            Outcome::Done(answer) => {
                *comment = answer.comment.unwrap_or_default();
                let what = What::Update {
                    id: comment.comment_id.parse()?,
                    revision: comment.revision,
                    body: comment.body.clone(),
                };
                self.shared.record.acknowledged(begun, request_id, what);
                if self.rng.random_bool(0.3) {
                    self.read_back(comment, &answer.position).await?;
                }
            }
            Outcome::Refused(status) => self.unexpected("an update is refused", &status),
            Outcome::GivenUp => {}
        }
        Ok(())
    }

    async fn delete(&mut self, comment: &Comment) -> Result {
        let request_id = Uuid::now_v7();
        let request = DeleteCommentRequest {
            site: SITE.into(),
            comment_id: comment.comment_id.clone(),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let (comments, begun) = (self.client.comment.clone(), Instant::now());
        let call = |request| {
            let mut comments = comments.clone();
            async move { comments.delete_comment(request).await }
        };
        match self.until_answered(&request, call).await {
            Outcome::Done(_) => {
                let id = comment.comment_id.parse()?;
                self.shared.record.acknowledged(begun, request_id, What::Delete { id });
            }
            Outcome::Refused(status) => self.unexpected("a deletion is refused", &status),
            Outcome::GivenUp => {}
        }
        Ok(())
    }

    /// A read with the position of a write includes it (I6), on any replica.
    async fn read_back(&self, comment: &Comment, position: &str) -> Result {
        let request = GetCommentRequest {
            site: SITE.into(),
            comment_id: comment.comment_id.clone(),
            position: position.to_owned(),
        };
        let comments = self.client.comment.clone();
        let call = |request| {
            let mut comments = comments.clone();
            async move { comments.get_comment(request).await }
        };
        let id = &comment.comment_id;
        match self.until_answered(&request, call).await {
            Outcome::Done(answer) => {
                let found = answer.comment.unwrap_or_default();
                if found.revision < comment.revision {
                    let (found, wrote) = (found.revision, comment.revision);
                    let what = format!("I6: {id} is at revision {found} after {wrote} was written");
                    self.finding(what);
                }
            }
            Outcome::Refused(status) => {
                let what = format!("I6: {id} at {position} is not found: {}", status.message());
                self.finding(what);
            }
            Outcome::GivenUp => {}
        }
        let request = ListFeedRequest {
            site: SITE.into(),
            position: position.to_owned(),
            ..Default::default()
        };
        let query = self.client.query.clone();
        let call = |request| {
            let mut query = query.clone();
            async move { query.list_feed(request).await }
        };
        if let Outcome::Done(answer) = self.until_answered(&request, call).await {
            let (wanted, got): (Position, Position) = (position.parse()?, answer.position.parse()?);
            if !got.includes(&wanted, &Source::ALL) {
                self.shared.record.finding(format!("I6: asked for {wanted}, a read has {got}"));
            }
        }
        Ok(())
    }

    /// A retry gets the same answer (I10).
    fn must_equal<T, A: PartialEq + Debug>(
        &self,
        first: &A,
        again: Outcome<T>,
        part: impl FnOnce(T) -> A,
    ) {
        match again {
            Outcome::Done(answer) => {
                let again = part(answer);
                if again != *first {
                    let what = format!("I10: a retry was answered {again:?}, not {first:?}");
                    self.finding(what);
                }
            }
            Outcome::Refused(status) => self.unexpected("I10: a retry is refused", &status),
            Outcome::GivenUp => {}
        }
    }
}
