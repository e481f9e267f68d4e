use std::mem::take;

use agora_proto::moderation::v1::{
    CaseState, GetCaseRequest, GetCaseResponse, GetPolicyRequest, GetPolicyResponse,
    ListCasesRequest, ListCasesResponse,
};
use chassis::{Call, fields::Fields, page};
use eventstore::Position;

use super::{Service, encode};
use crate::{
    Error,
    store::{Cursor, Read as _, Store},
};

impl<S: Store> Service<S> {
    pub(super) async fn policy(
        &self,
        call: Call,
        message: GetPolicyRequest,
    ) -> Result<GetPolicyResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let position = Position::read(&mut fields, &message.position);
        let (Some(site), Some(position)) = (site, position) else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;

        let version = Some(message.version).filter(|version| *version > 0);
        let read = || self.reader.policy(&site, version);
        let (found, reached) = self.watermarks.read(&position, call.deadline, read).await?;
        let policy = found.ok_or(Error::PolicyNotFound)?;
        let policy = Some(encode::policy(&site, policy));
        Ok(GetPolicyResponse { policy, position: reached.to_string() })
    }

    pub(super) async fn get(
        &self,
        call: Call,
        message: GetCaseRequest,
    ) -> Result<GetCaseResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let id = fields.id("comment_id", &message.comment_id);
        let position = Position::read(&mut fields, &message.position);
        let (Some(site), Some(id), Some(position)) = (site, id, position) else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;

        let read = || async {
            let Some(case) = self.reader.case(&site, id).await? else { return Ok(None) };
            let context = self.reader.context(&case).await?;
            Ok(Some((case, context)))
        };
        let (found, reached) = self.watermarks.read(&position, call.deadline, read).await?;
        let (case, context) = found.ok_or(Error::CaseNotFound)?;
        Ok(GetCaseResponse {
            moderation_case: Some(encode::case(case)),
            context: Some(encode::context(context)),
            position: reached.to_string(),
        })
    }

    pub(super) async fn list(
        &self,
        call: Call,
        mut message: ListCasesRequest,
    ) -> Result<ListCasesResponse, Error> {
        let mut fields = Fields::new();
        let site = fields.site("site", &message.site);
        let position = Position::read(&mut fields, &take(&mut message.position));
        let size = fields.page_size("page_size", take(&mut message.page_size));
        let token = take(&mut message.page_token);
        let open = message.state() != CaseState::Closed;
        let (Some(site), Some(position), Some(size)) = (site, position, size) else {
            return Err(fields.into_error().into());
        };
        call.caller.authorize(&site)?;
        let query = page::query("ListCases", &message);
        let after: Option<Cursor> = self.sealer.open_next(&query, &token)?;

        let read = || self.reader.cases(&site, open, after, size + 1);
        let (mut cases, reached) = self.watermarks.read(&position, call.deadline, read).await?;
        let more = cases.len() > size;
        cases.truncate(size);
        let cursor = cases.last().filter(|_| more).map(Cursor::after);
        Ok(ListCasesResponse {
            cases: cases.into_iter().map(encode::case).collect(),
            next_page_token: self.sealer.seal_next(&query, cursor.as_ref()),
            position: reached.to_string(),
        })
    }
}
