use std::{io, net::SocketAddr, path::Path, time::Duration};

use agora_proto::admin::v1::{
    SnapshotHeader, SnapshotRequest, SnapshotResponse, snapshot_response::Part,
    view_service_client::ViewServiceClient,
};
use bus_schema::Installation;
use chassis::{
    StartError,
    dial::{self, NoToken, Target, is_own},
    error::chain,
};
use eventstore::{Position, database::OpenError};
use tokio::{
    fs::File,
    io::AsyncWriteExt as _,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Status, Streaming};

use crate::{
    config,
    slots::{self, Slots},
    store::{self, CopyError},
};

/// How long a peer may take to say whether it gives a snapshot.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it may take to make one: its view may be large.
const MAKING: Duration = Duration::from_secs(600);
/// How long the next message may take.
const NEXT: Duration = Duration::from_secs(30);
/// How long peers are asked again that give one to somebody else.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a peer's snapshot is not taken.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("it cannot be reached")]
    Connect(#[from] tonic::transport::Error),
    #[error("snapshot.token_file")]
    Token(#[from] NoToken),
    #[error("it provides none: {}", .0.message())]
    Refused(Box<Status>),
    #[error("it does not answer in time")]
    Silent,
    #[error("its data does not match its header: {0}")]
    Malformed(&'static str),
    #[error("it is a replica of another installation, {0}")]
    Foreign(String),
    #[error("it cannot be resumed")]
    Copy(#[from] CopyError),
    #[error("its file cannot be written")]
    File(#[from] io::Error),
    #[error("its file cannot be opened")]
    Open(#[from] OpenError),
}

impl From<Status> for FetchError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl FetchError {
    /// Whether the same peer may give one a little later.
    fn is_busy(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::ResourceExhausted)
    }
}

/// The other replicas of this installation.
pub(super) struct Peers<'s> {
    target: Target,
    token_file: Option<&'s Path>,
    installation: &'s Installation,
}

/// The peers, if it is set where they are.
pub(super) fn peers<'s>(
    settings: &'s config::Snapshot,
    installation: &'s Installation,
) -> Result<Option<Peers<'s>>, StartError> {
    let Some(url) = &settings.peers else { return Ok(None) };
    let target = url.parse().map_err(|error| {
        StartError::Other(format!("snapshot.peers is no address: {url}: {error}").into())
    });
    let token_file = settings.token_file.as_deref();
    Ok(Some(Peers { target: target?, token_file, installation }))
}

/// Takes a view from a peer; says whether there is one now.
pub(super) async fn fetch(
    peers: &Peers<'_>,
    slots: &Slots,
    view: &Path,
    listens: SocketAddr,
) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut is_busy = false;
        let addresses = peers.target.addresses().await.unwrap_or_else(|error| {
            tracing::info!(%error, "no peer found");
            Default::default()
        });
        for peer in addresses.into_iter().filter(|peer| !is_own(*peer, listens.port())) {
            tracing::info!(%peer, "requesting a snapshot");
            match fetch_from(peers, peer, slots, view).await {
                Ok(position) => {
                    tracing::info!(%peer, %position, "view restored from a peer's snapshot");
                    return Ok(true);
                }
                Err(error) => {
                    is_busy |= error.is_busy();
                    tracing::warn!(%peer, error = chain(&error), "cannot use the peer's snapshot");
                }
            }
        }
        if !is_busy || Instant::now() >= until {
            slots::remove(&slots.fetched())?;
            return Ok(false);
        }
        sleep(AGAIN).await;
    }
}

async fn fetch_from(
    peers: &Peers<'_>,
    peer: SocketAddr,
    slots: &Slots,
    view: &Path,
) -> Result<Position, FetchError> {
    let mut client = ViewServiceClient::new(peers.target.connect(peer).await?);
    let request = dial::request(SnapshotRequest {}, peers.token_file)?;
    let asking = timeout(ANSWER, client.snapshot(request)).await;
    let mut messages = asking.map_err(|_| FetchError::Silent)??.into_inner();
    let header = match next(&mut messages, MAKING).await? {
        Some(Part::Header(header)) => header,
        _ => return Err(FetchError::Malformed("there is no header")),
    };
    // An older version does not say whose it is; that the streams chain with it is looked at in
    // any case.
    if !header.installation.is_empty() && header.installation != peers.installation.as_str() {
        return Err(FetchError::Foreign(header.installation));
    }
    store::check_schema(header.schema_version)?;
    let path = slots.fetched();
    receive(&path, &header, &mut messages).await?;
    let position = store::check(&path).await?;
    if position.to_string() != header.position {
        return Err(FetchError::Malformed("its checkpoints differ"));
    }
    // First what is parked: with it alone a view can still be made from the streams.
    store::unpack(&path, &slots.letters()).await?;
    File::open(&path).await?.sync_all().await?;
    // The log of a view that is gone must not be taken for one of this view.
    slots::remove(view)?;
    slots::rename(&path, view)?;
    Ok(position)
}

/// Writes what a peer sends into a file, if it is what was said.
async fn receive(
    path: &Path,
    header: &SnapshotHeader,
    messages: &mut Streaming<SnapshotResponse>,
) -> Result<(), FetchError> {
    slots::remove(path)?;
    let mut file = File::create(path).await?;
    let mut hasher = blake3::Hasher::new();
    while let Some(part) = next(messages, NEXT).await? {
        let Part::Data(data) = part else {
            return Err(FetchError::Malformed("there are two headers"));
        };
        hasher.update(&data);
        if hasher.count() > header.size {
            return Err(FetchError::Malformed("it is longer"));
        }
        file.write_all(&data).await?;
    }
    file.sync_all().await?;
    if hasher.count() != header.size {
        return Err(FetchError::Malformed("it is shorter"));
    }
    if header.hash != hasher.finalize().as_bytes() {
        return Err(FetchError::Malformed("its hash differs"));
    }
    Ok(())
}

async fn next(
    messages: &mut Streaming<SnapshotResponse>,
    longest: Duration,
) -> Result<Option<Part>, FetchError> {
    let message = timeout(longest, messages.message()).await.map_err(|_| FetchError::Silent)??;
    match message {
        None => Ok(None),
        Some(SnapshotResponse { part: None }) => Err(FetchError::Malformed("a part is empty")),
        Some(SnapshotResponse { part }) => Ok(part),
    }
}
