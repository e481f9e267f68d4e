use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use agora_proto::{
    admin::v1::{
        dead_letter_service_client::DeadLetterServiceClient,
        journal_service_client::JournalServiceClient, stream_service_client::StreamServiceClient,
        view_service_client::ViewServiceClient,
    },
    comment::v1::comment_service_client::CommentServiceClient,
    moderation::v1::moderation_service_client::ModerationServiceClient,
    post::v1::post_service_client::PostServiceClient,
    query::v1::{ListFeedRequest, ServedFrom, query_service_client::QueryServiceClient},
};
use bytes::{Buf as _, BufMut as _};
pub use chassis::auth::Role;
use chassis::auth::token::Claims;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{Result, Service};

/// How long a replica may be silent.
const SHORT: Duration = Duration::from_secs(1);
/// How long a server may be silent that is the only one.
const LONG: Duration = Duration::from_secs(2);

/// A connection to a server, with a token or without one.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Puts a token into every request.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A caller of a system's services.
#[derive(Clone)]
pub struct Client {
    /// The post service.
    pub post: PostServiceClient<Connection>,
    /// The comment service.
    pub comment: CommentServiceClient<Connection>,
    /// The moderation service.
    pub moderation: ModerationServiceClient<Connection>,
    /// The query service.
    pub query: QueryServiceClient<Connection>,
    /// The journal of each source, from the service that keeps it.
    pub journals: Journals,
    /// The stream of each source, from the service that fills it.
    pub streams: Streams,
    /// The dead letters of each service that consumes.
    pub letters: Letters,
    /// The view.
    pub view: ViewServiceClient<Connection>,
    /// The connection to the comment service.
    connection: Connection,
}

/// The journals.
#[derive(Clone)]
pub struct Journals {
    /// That of the post service.
    pub post: JournalServiceClient<Connection>,
    /// That of the comment service.
    pub comment: JournalServiceClient<Connection>,
    /// That of the moderation service.
    pub moderation: JournalServiceClient<Connection>,
}

/// The streams.
#[derive(Clone)]
pub struct Streams {
    /// That of the post service.
    pub post: StreamServiceClient<Connection>,
    /// That of the comment service.
    pub comment: StreamServiceClient<Connection>,
    /// That of the moderation service.
    pub moderation: StreamServiceClient<Connection>,
}

/// The dead letters.
#[derive(Clone)]
pub struct Letters {
    /// Those of the comment service.
    pub comment: DeadLetterServiceClient<Connection>,
    /// Those of the moderation service.
    pub moderation: DeadLetterServiceClient<Connection>,
    /// Those of the query service.
    pub query: DeadLetterServiceClient<Connection>,
}

/// A codec that leaves messages as they are.
#[derive(Clone, Copy)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

/// Where each replica of each service is, as `http://host:port`.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The post service.
    pub post: Vec<String>,
    /// The comment service.
    pub comment: Vec<String>,
    /// The moderation service.
    pub moderation: Vec<String>,
    /// The query service.
    pub query: Vec<String>,
}

impl Addresses {
    /// Where a service is.
    pub const fn of(&self, service: Service) -> &Vec<String> {
        match service {
            Service::Post => &self.post,
            Service::Comment => &self.comment,
            Service::Moderation => &self.moderation,
            Service::Query => &self.query,
        }
    }

    pub(crate) const fn of_mut(&mut self, service: Service) -> &mut Vec<String> {
        match service {
            Service::Post => &mut self.post,
            Service::Comment => &mut self.comment,
            Service::Moderation => &mut self.moderation,
            Service::Query => &mut self.query,
        }
    }
}

impl Client {
    /// A caller with this token, which connects when it is first used.
    ///
    /// # Errors
    /// If an address or the token is invalid.
    pub fn new(addresses: &Addresses, token: Option<&str>) -> Result<Self> {
        let token = token.map(|token| format!("Bearer {token}").parse()).transpose()?;
        let bearer = Bearer(token);
        let connect = |addresses: &[String]| -> Result<Connection> {
            let endpoints: Vec<Endpoint> = addresses
                .iter()
                .map(|address| Endpoint::from_shared(address.clone()))
                .collect::<Result<_, _>>()?;
            let channel = match endpoints.as_slice() {
                // A machine or a pod may be gone without a word.
                [only] => only
                    .clone()
                    .connect_timeout(LONG)
                    .http2_keep_alive_interval(LONG)
                    .keep_alive_timeout(LONG)
                    .connect_lazy(),
                // A replica that hangs must not keep its calls.
                _ => Channel::balance_list(endpoints.into_iter().map(|endpoint| {
                    endpoint
                        .connect_timeout(SHORT)
                        .http2_keep_alive_interval(SHORT)
                        .keep_alive_timeout(SHORT)
                })),
            };
            Ok(InterceptedService::new(channel, bearer.clone()))
        };
        Ok(Self {
            post: PostServiceClient::new(connect(&addresses.post)?),
            comment: CommentServiceClient::new(connect(&addresses.comment)?),
            moderation: ModerationServiceClient::new(connect(&addresses.moderation)?),
            query: QueryServiceClient::new(connect(&addresses.query)?),
            journals: Journals {
                post: JournalServiceClient::new(connect(&addresses.post)?),
                comment: JournalServiceClient::new(connect(&addresses.comment)?),
                moderation: JournalServiceClient::new(connect(&addresses.moderation)?),
            },
            streams: Streams {
                post: StreamServiceClient::new(connect(&addresses.post)?),
                comment: StreamServiceClient::new(connect(&addresses.comment)?),
                moderation: StreamServiceClient::new(connect(&addresses.moderation)?),
            },
            letters: Letters {
                comment: DeadLetterServiceClient::new(connect(&addresses.comment)?),
                moderation: DeadLetterServiceClient::new(connect(&addresses.moderation)?),
                query: DeadLetterServiceClient::new(connect(&addresses.query)?),
            },
            view: ViewServiceClient::new(connect(&addresses.query)?),
            connection: connect(&addresses.comment)?,
        })
    }

    /// Whether the view includes a position and no more, and answers itself.
    pub async fn view_is_at(&self, site: &str, position: &str) -> bool {
        let (site, wanted) = (site.to_owned(), position.to_owned());
        let request =
            ListFeedRequest { site, position: wanted, page_size: 1, ..Default::default() };
        let answer = self.query.clone().list_feed(request).await;
        answer.is_ok_and(|answer| {
            let answer = answer.into_inner();
            answer.served_from() == ServedFrom::View && answer.position == position
        })
    }

    /// Whether the view includes a position, and answers itself.
    pub async fn view_includes(&self, site: &str, position: &str) -> bool {
        let (site, position) = (site.to_owned(), position.to_owned());
        let request = ListFeedRequest { site, position, page_size: 1, ..Default::default() };
        let answer = self.query.clone().list_feed(request).await;
        answer.is_ok_and(|answer| answer.get_ref().served_from() == ServedFrom::View)
    }

    /// Calls a method of the comment service with these bytes as its message.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn raw(&self, path: &'static str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
        let mut client = tonic::client::Grpc::new(self.connection.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = client.unary(Request::new(message), path, Raw).await?;
        Ok(answer.into_inner())
    }
}

/// A token for a user who has a role on every site, signed with a key that the system
/// knows.
///
/// # Errors
/// If the key cannot sign.
pub fn token(private_pem: &str, user: &str, role: Role) -> Result<String> {
    let claims = Claims {
        subject: user.into(),
        name: user.into(),
        roles: BTreeMap::from([("*".into(), BTreeSet::from([role]))]),
        lifetime: Duration::from_secs(24 * 60 * 60),
    };
    Ok(chassis::auth::token::sign(private_pem, &claims, "agora", "agora")?)
}
