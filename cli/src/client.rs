//! Calls to a server: where it is, who calls, and what is tried again.

mod retry;

use std::{fs, path::PathBuf, time::Duration};

use agora_proto::{
    admin::v1::{
        dead_letter_service_client::DeadLetterServiceClient,
        journal_service_client::JournalServiceClient, stream_service_client::StreamServiceClient,
        view_service_client::ViewServiceClient,
    },
    comment::v1::comment_service_client::CommentServiceClient,
    moderation::v1::moderation_service_client::ModerationServiceClient,
    post::v1::{GetPostRequest, get_post_request, post_service_client::PostServiceClient},
    query::v1::query_service_client::QueryServiceClient,
};
use bus_schema::Source;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{
    error::Error,
    folder::{Folder, Run},
    options::{Options, Role},
    token::{self, Issuer},
};

pub use retry::{Patience, retry};

/// Where `agora up` listens if nothing else is known.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7400";
/// How long a token is valid that a command makes for itself: longer than any import
/// takes.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is taken: a page of a thread with long comments.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A connection that puts the token into every request.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Puts a token into every request, if there is one.
#[derive(Clone, Debug)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A caller of the four services, which may be one server.
#[derive(Clone, Debug)]
pub struct Client {
    post: Connection,
    comment: Connection,
    moderation: Connection,
    query: Connection,
    /// One of each server.
    each: Vec<Connection>,
    site: String,
}

impl Client {
    /// Connects to the server that the options name; to those of single services when
    /// they are first called. `role` is what the command needs where the options name none.
    pub async fn connect(options: &Options, role: Role) -> Result<Self, Error> {
        Self::connect_for(options, role, options.site()).await
    }

    /// As [`Self::connect`], with a token for every site.
    pub async fn connect_for_all_sites(options: &Options, role: Role) -> Result<Self, Error> {
        Self::connect_for(options, role, "*").await
    }

    async fn connect_for(options: &Options, role: Role, site: &str) -> Result<Self, Error> {
        let folder = Folder::find(options.data.as_deref());
        let folder = folder.as_ref().ok();
        let run = folder.and_then(Folder::running);
        let servers = &options.servers;
        let named = [
            &servers.post_server,
            &servers.comment_server,
            &servers.moderation_server,
            &servers.query_server,
        ];
        let mut each: Vec<(String, Connection)> = Vec::new();
        let mut connections = Vec::new();
        for named in named {
            let server = match named {
                Some(named) => address(named),
                None => server(options, folder, run.as_ref())?,
            };
            if let Some((_, connection)) = each.iter().find(|(known, _)| *known == server) {
                connections.push(connection.clone());
                continue;
            }
            let bearer = bearer(options, role, site, &server, folder, run.as_ref())?;
            let endpoint = Endpoint::from_shared(server.clone())
                .map_err(Error::failed(format!("{server} is no address of a server")))?
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true);
            // Few commands need all four.
            let channel = match named {
                Some(_) => endpoint.connect_lazy(),
                None => endpoint
                    .connect()
                    .await
                    .map_err(|source| Error::Unreachable { server: server.clone(), source })?,
            };
            let connection = InterceptedService::new(channel, bearer);
            each.push((server, connection.clone()));
            connections.push(connection);
        }
        let [post, comment, moderation, query] =
            connections.try_into().expect("there is a connection for each of the four");
        let each = each.into_iter().map(|(_, connection)| connection).collect();
        Ok(Self { post, comment, moderation, query, each, site: options.site().to_owned() })
    }

    /// The site that the command is about.
    pub fn site(&self) -> String {
        self.site.clone()
    }

    pub fn posts(&self) -> PostServiceClient<Connection> {
        PostServiceClient::new(self.post.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn comments(&self) -> CommentServiceClient<Connection> {
        CommentServiceClient::new(self.comment.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn moderation(&self) -> ModerationServiceClient<Connection> {
        ModerationServiceClient::new(self.moderation.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn query(&self) -> QueryServiceClient<Connection> {
        QueryServiceClient::new(self.query.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The journal of a source.
    pub fn journals(&self, source: Source) -> JournalServiceClient<Connection> {
        JournalServiceClient::new(self.of(source)).max_decoding_message_size(MAX_ANSWER)
    }

    /// The stream of a source.
    pub fn streams(&self, source: Source) -> StreamServiceClient<Connection> {
        StreamServiceClient::new(self.of(source))
    }

    /// The dead letters of every server, or of the one where this service runs.
    pub fn dead_letters(&self, service: &str) -> Vec<DeadLetterServiceClient<Connection>> {
        let connections = match (service, service.parse()) {
            ("", _) => self.each.clone(),
            ("query", _) => vec![self.query.clone()],
            (_, Ok(source)) => vec![self.of(source)],
            // Who has no such service says so.
            (_, Err(_)) => vec![self.query.clone()],
        };
        let letters = |connection| {
            DeadLetterServiceClient::new(connection).max_decoding_message_size(MAX_ANSWER)
        };
        connections.into_iter().map(letters).collect()
    }

    pub fn view(&self) -> ViewServiceClient<Connection> {
        ViewServiceClient::new(self.query.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn of(&self, source: Source) -> Connection {
        match source {
            Source::Post => self.post.clone(),
            Source::Comment => self.comment.clone(),
            Source::Moderation => self.moderation.clone(),
        }
    }

    /// The id of a post that may be named by its external key.
    pub async fn post_id(&self, name: &PostName) -> Result<String, Error> {
        let key = match name {
            PostName::Id(id) => return Ok(id.to_string()),
            PostName::ExternalKey(key) => key.clone(),
        };
        let request = GetPostRequest {
            site: self.site(),
            key: Some(get_post_request::Key::ExternalKey(key)),
            position: String::new(),
        };
        let answer = call(&request, |request| {
            let mut posts = self.posts();
            async move { posts.get_post(request).await }
        })
        .await?;
        Ok(answer.post.unwrap_or_default().post_id)
    }
}

/// Calls a method, and again with the same message while the server is overloaded or
/// away: a write carries a request id, so that this has no second effect.
pub async fn call<M, T, F>(message: &M, method: impl Fn(M) -> F) -> Result<T, Error>
where
    M: Clone,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let answer = retry(Patience::Command, || method(message.clone())).await?;
    Ok(answer.into_inner())
}

/// Calls a method as [`call`] does: `rpc!(client.posts().get_post(request))`.
macro_rules! rpc {
    ($client:ident.$service:ident().$method:ident($request:expr)) => {
        $crate::client::call(&$request, |request| {
            let mut service = $client.$service();
            async move { service.$method(request).await }
        })
        .await
    };
}
pub(crate) use rpc;

/// A new id for a write.
pub fn request_id() -> String {
    Uuid::now_v7().to_string()
}

/// A post as people name it: by its id or by its external key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostName {
    Id(Uuid),
    ExternalKey(String),
}

impl std::str::FromStr for PostName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match Uuid::try_parse(text) {
            Ok(id) => Self::Id(id),
            Err(_) => Self::ExternalKey(text.to_owned()),
        })
    }
}

/// The address of the server, with its scheme: the one that was named, else that of the `agora
/// up` of the data folder. Where a folder was named and none runs on it, whoever listens on the
/// usual port is another installation.
fn server(options: &Options, folder: Option<&Folder>, run: Option<&Run>) -> Result<String, Error> {
    match (&options.server, run, folder) {
        (Some(server), _, _) => Ok(address(server)),
        (None, Some(run), _) => Ok(address(&run.grpc)),
        (None, None, Some(folder)) if folder.is_named() => {
            Err(folder.not_running("name a server with --server"))
        }
        (None, None, _) => Ok(DEFAULT_SERVER.to_owned()),
    }
}

/// Whether everything that the options name is the `agora up` that is described.
pub fn is_all_of(options: &Options, run: &Run) -> bool {
    let servers = &options.servers;
    let named = [
        &options.server,
        &servers.post_server,
        &servers.comment_server,
        &servers.moderation_server,
        &servers.query_server,
    ];
    named.into_iter().flatten().all(|server| is_same(server, &run.grpc))
}

/// An address with its scheme.
fn address(server: &str) -> String {
    if server.contains("://") { server.to_owned() } else { format!("http://{server}") }
}

/// The token that was given, or one made with the key that was, or one that the local
/// `agora up` takes.
fn bearer(
    options: &Options,
    role: Role,
    site: &str,
    server: &str,
    folder: Option<&Folder>,
    run: Option<&Run>,
) -> Result<Bearer, Error> {
    if let Some(token) = &options.token {
        return header(token);
    }
    if let Some(file) = &options.token_file {
        let token = fs::read_to_string(file).map_err(Error::file("read the token", file))?;
        return header(token.trim());
    }
    // What this machine's `agora up` says of itself, its key too, is for that one alone.
    let local = run.filter(|run| is_same(server, &run.grpc));
    if let Some(key) = &options.key {
        let issuer = Issuer::of(options, key, local);
        return made(options, role, site, &issuer);
    }
    let Some(run) = local.filter(|run| is_readable(&run.key)) else {
        let asked = options.user.is_some() || !options.role.is_empty();
        return match folder.filter(|_| asked) {
            Some(folder) => Err(Error::plain(format!(
                "cannot make a token for --user and --role: {} holds no key of a running `agora \
                 up` at {server}; give --token or --data",
                folder.path().display()
            ))),
            None => Ok(Bearer(None)),
        };
    };
    made(options, role, site, &Issuer::of(options, &run.key, Some(run)))
}

/// A token that is made here.
fn made(options: &Options, role: Role, site: &str, issuer: &Issuer<'_>) -> Result<Bearer, Error> {
    let user = user(options);
    let roles = if options.role.is_empty() { vec![role] } else { options.role.clone() };
    header(&token::make(issuer, &user, &user, site, &roles, TOKEN_LIFETIME)?)
}

fn header(token: &str) -> Result<Bearer, Error> {
    let value = format!("Bearer {token}").parse();
    let value = value.map_err(Error::failed("the token is none: it holds other characters"))?;
    Ok(Bearer(Some(value)))
}

/// Who calls: `--user`, else the user of this machine.
pub fn user(options: &Options) -> String {
    let of_machine = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    options.user.clone().or_else(of_machine).unwrap_or_else(|| "you".to_owned())
}

fn is_readable(key: &PathBuf) -> bool {
    fs::File::open(key).is_ok()
}

/// Whether an address is that of `run.json`; loopback has several names.
fn is_same(server: &str, listening: &str) -> bool {
    let authority = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = authority.trim_end_matches('/');
    if authority == listening {
        return true;
    }
    let (Some((host, port)), Some((_, listening_port))) =
        (authority.rsplit_once(':'), listening.rsplit_once(':'))
    else {
        return false;
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]") && port == listening_port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            version: "0.1.0".into(),
            process_id: 1,
            grpc: "127.0.0.1:7555".into(),
            http: "127.0.0.1:7580".into(),
            nats: "nats://127.0.0.1:7522".into(),
            nats_process_id: None,
            data: "/nowhere".into(),
            key: "/nowhere/key.pem".into(),
            issuer: "agora".into(),
            audience: "agora".into(),
        }
    }

    #[test]
    fn the_server_is_the_named_one_then_the_running_one_then_the_usual_one() {
        let named = Options { server: Some("example.org:80".into()), ..Options::default() };
        let folder = Folder::find(Some("/nowhere".as_ref())).unwrap();
        let usual = Options::default();
        assert_eq!(server(&named, Some(&folder), None).unwrap(), "http://example.org:80");
        assert_eq!(server(&named, None, Some(&run())).unwrap(), "http://example.org:80");
        assert_eq!(server(&usual, Some(&folder), Some(&run())).unwrap(), "http://127.0.0.1:7555");
        assert_eq!(server(&usual, None, None).unwrap(), DEFAULT_SERVER);
        let error = server(&usual, Some(&folder), None).unwrap_err().to_string();
        assert!(error.contains("no `agora up` runs on the data folder /nowhere"), "{error}");
    }

    #[test]
    fn a_server_elsewhere_is_not_the_one_that_runs_here() {
        let run = run();
        let mut options = Options::default();
        assert!(is_all_of(&options, &run));
        options.server = Some("localhost:7555".into());
        assert!(is_all_of(&options, &run));
        options.servers.query_server = Some("http://query:7404".into());
        assert!(!is_all_of(&options, &run));
    }

    #[test]
    fn a_token_is_made_for_the_local_server_alone() {
        assert!(is_same("http://localhost:7555", "127.0.0.1:7555"));
        assert!(is_same("http://127.0.0.1:7555/", "127.0.0.1:7555"));
        assert!(!is_same("http://127.0.0.1:7400", "127.0.0.1:7555"));
        assert!(!is_same("http://example.org:7555", "127.0.0.1:7555"));
    }

    #[test]
    fn a_user_without_a_key_is_told_so() {
        let folder = Folder::find(Some("/nowhere".as_ref())).unwrap();
        let options = Options { user: Some("ann".into()), ..Options::default() };
        let server = "http://127.0.0.1:7400";
        let made = bearer(&options, Role::Author, "main", server, Some(&folder), None);
        assert!(made.unwrap_err().to_string().starts_with("cannot make a token"));
        let options = Options::default();
        let made = bearer(&options, Role::Author, "main", server, Some(&folder), None);
        assert!(made.unwrap().0.is_none());
    }

    #[test]
    fn a_post_is_named_by_its_id_or_its_external_key() {
        let id = Uuid::now_v7();
        assert_eq!(id.to_string().parse(), Ok(PostName::Id(id)));
        let key = "youtube-csv:Youtube01-Psy";
        assert_eq!(key.parse(), Ok(PostName::ExternalKey(key.into())));
    }
}
