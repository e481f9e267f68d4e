//! A database that is put back while its service reaches only a NATS server that is behind:
//! what that one shows is not all that there is.

use std::time::Duration;

use bus_schema::{Source, Stream};

use super::Injector;
use crate::{Proxy, Result, Service, faults::load::Load};

/// For how long is written what the server does not hear of.
const BEHIND: Duration = Duration::from_secs(2);
/// For how long the services reach that server alone.
const ALONE: Duration = Duration::from_secs(5);

impl Injector<'_> {
    pub(super) async fn restore_beside_lag(&mut self, source: Source, load: &Load) -> Result {
        self.mend().await?;
        let service = Service::of(source);
        let quiet = load.pause().await;
        self.quiet().await?;
        self.copy(service).await?;
        let behind = self.follower(source).await?;
        self.system.nats.cut_off(behind);
        self.system.proxies()[behind].shut();
        drop(quiet);
        self.rest(BEHIND).await?;

        let quiet = load.pause().await;
        self.published().await?;
        self.system.process(service).kill().await?;
        self.put_back(service).await?;
        for (number, proxy) in self.system.proxies().iter().enumerate() {
            if number == behind { proxy.open() } else { proxy.shut() }
        }
        self.system.process(service).restart()?;
        drop(quiet);
        self.rest(ALONE).await?;
        self.system.nats.join();
        self.system.proxies().iter().for_each(Proxy::open);
        Ok(())
    }

    /// A server that does not lead a source's stream. One that did would go on for some
    /// seconds after the others had elected another one.
    async fn follower(&self, source: Source) -> Result<usize> {
        let jetstream = async_nats::jetstream::new(self.system.nats.connect().await?);
        let stream = jetstream.get_stream(Stream::of(source, 1, -1).name).await?;
        let cluster = stream.cached_info().cluster.as_ref();
        let leader = cluster.and_then(|cluster| cluster.leader.clone());
        let leader = leader.ok_or("the stream has no leader")?;
        // They are named by their numbers.
        Ok(if leader.ends_with('0') { 1 } else { 0 })
    }
}
