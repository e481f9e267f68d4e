//! A TCP proxy that cuts connections and delays what they carry.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use crate::Result;

/// Passes connections on to a port of loopback, until it is dropped.
pub struct Proxy {
    port: u16,
    cuts: watch::Sender<u64>,
    is_shut: Arc<AtomicBool>,
    delay_ms: Arc<AtomicU64>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let cuts = watch::Sender::new(0);
        let delay_ms = Arc::new(AtomicU64::new(0));
        let is_shut = Arc::new(AtomicBool::new(false));
        let (cut, delay, shut) = (cuts.clone(), delay_ms.clone(), is_shut.clone());
        let accepting = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shut.load(Ordering::Relaxed) {
                    continue;
                }
                tokio::spawn(pass(client, to, cut.subscribe(), delay.clone()));
            }
        }));
        Ok(Self { port, cuts, is_shut, delay_ms, _accepting: accepting })
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts every connection, and lets none through until it is opened.
    pub fn shut(&self) {
        self.is_shut.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.is_shut.store(false, Ordering::Relaxed);
    }

    /// Has everything take so much longer from now on.
    pub fn delay(&self, by: Duration) {
        self.delay_ms.store(by.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Passes one connection on until it ends or is cut.
async fn pass(client: TcpStream, to: u16, mut cuts: watch::Receiver<u64>, delay: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = copy(from_client, to_server, &delay) => {}
        _ = copy(from_server, to_client, &delay) => {}
        _ = cuts.changed() => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let wait = delay.load(Ordering::Relaxed);
        if wait > 0 {
            sleep(Duration::from_millis(wait)).await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
