//! What rows are compared with: an empty echo, and a read that does nothing.

use std::{path::Path, time::Duration};

use agora_proto::admin::v1::{GetViewDigestRequest, view_service_client::ViewServiceClient};
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use futures::StreamExt as _;
use tokio::{task::JoinSet, time::Instant};
use tonic::transport::{Channel, Endpoint};

use super::{CONNECTIONS, IN_FLIGHT};
use crate::{
    Process, Raw, Result,
    bench::{
        load::{Rate, closed_loop, median},
        report::Row,
    },
    free_port,
    process::wait_until,
};

/// What was measured in each round, against the baseline of the same round.
#[derive(Default)]
pub(super) struct Rounds {
    measured: Vec<f64>,
    baselines: Vec<f64>,
}

impl Rounds {
    pub(super) fn add(&mut self, measured: Rate, baseline: Rate) {
        self.measured.push(measured.per_second());
        self.baselines.push(baseline.per_second());
    }

    /// The median of what was measured.
    pub(super) fn rate(&self) -> f64 {
        median(self.measured.clone())
    }

    /// The row whose value, the median of the rounds' ratios, is to be at least `least`.
    pub(super) fn row(&self, what: &'static str, least: f64) -> Row {
        let ratios = self.measured.iter().zip(&self.baselines).map(|(ours, other)| ours / other);
        let (ratio, baseline) = (median(ratios.collect()), median(self.baselines.clone()));
        Row::at_least(what, per_second(self.rate()), per_second(baseline), ratio, least)
    }
}

/// Starts an echo in a process of its own.
pub(super) async fn echo(bytes: usize, folder: &Path) -> Result<(Process, String)> {
    let port = free_port()?;
    let arguments = ["echo", &port.to_string(), &bytes.to_string()];
    let this = std::env::current_exe()?;
    let process = Process::start(&this, &arguments, &[], &folder.join("echo.log"))?;
    wait_until("the echo", || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await?;
    Ok((process, format!("http://127.0.0.1:{port}")))
}

pub(super) fn channels(url: &str) -> Result<Vec<Channel>> {
    (0..CONNECTIONS).map(|_| Ok(Endpoint::from_shared(url.to_owned())?.connect_lazy())).collect()
}

pub(super) async fn echo_loop(channels: &[Channel], time: Duration) -> Result<Rate> {
    // One call over each connection first, so that none is made while it is measured.
    for channel in channels {
        ViewServiceClient::new(channel.clone()).get_view_digest(GetViewDigestRequest {}).await?;
    }
    let channels = channels.to_vec();
    closed_loop(IN_FLIGHT, time, move |worker, _| {
        let channel = channels[worker % channels.len()].clone();
        let path = "/agora.admin.v1.ViewService/GetViewDigest";
        async move { raw_call(channel, path, GetViewDigestRequest {}).await }
    })
    .await
}

/// Calls a method and leaves the answer undecoded: what is compared is the servers,
/// not how long a client takes to read different messages.
pub(super) async fn raw_call(
    channel: Channel,
    path: &'static str,
    message: impl prost::Message,
) -> Result {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static(path);
    client.unary(tonic::Request::new(message.encode_to_vec()), path, Raw).await?;
    Ok(())
}

/// Reads all streams in order and does nothing with them.
pub(super) async fn idle_read(nats: &str) -> Result<Rate> {
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats).await?);
    let started = Instant::now();
    let mut reads: JoinSet<Result<u64>> = JoinSet::new();
    for name in ["AGORA_POST", "AGORA_COMMENT", "AGORA_MODERATION"] {
        let jetstream = jetstream.clone();
        reads.spawn(async move {
            let stream = jetstream.get_stream(name).await?;
            let last = stream.cached_info().state.last_sequence;
            let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..Default::default() };
            let mut messages = stream.create_consumer(config).await?.messages().await?;
            for _ in 0..last {
                messages.next().await.ok_or("a stream has ended early")??;
            }
            Ok(last)
        });
    }
    let mut calls = 0;
    while let Some(read) = reads.join_next().await {
        calls += read??;
    }
    Ok(Rate { calls, took: started.elapsed() })
}

pub(in crate::bench) fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}
