use agora_proto::admin::v1::{
    GetViewDigestRequest, GetViewDigestResponse, TableDigest, view_service_server::ViewService,
};
use chassis::{Call, Error, status};
use tonic::{Request, Response, Status};

use crate::store::Reader;

/// The view, for operators.
pub(crate) struct Views {
    pub(crate) reader: Reader,
}

#[tonic::async_trait]
impl ViewService for Views {
    async fn get_view_digest(
        &self,
        request: Request<GetViewDigestRequest>,
    ) -> Result<Response<GetViewDigestResponse>, Status> {
        let (call, GetViewDigestRequest {}) = Call::open(request);
        call.caller.authorize_everywhere().map_err(status)?;
        let digest = self.reader.digest().await.map_err(|error| status(Error::from(error)))?;
        let parked = self.reader.parked().await.map_err(|error| status(Error::from(error)))?;
        let tables = digest.tables.into_iter().map(|table| TableDigest {
            table: table.table.to_owned(),
            rows: table.rows,
            hash: table.hash.to_vec(),
        });
        Ok(Response::new(GetViewDigestResponse {
            position: digest.position.to_string(),
            tables: tables.collect(),
            parked,
        }))
    }
}
