//! NATS as a cluster of three: any one of its servers may go.

use e2e::{Databases, Result, Role, Setup, System};

use crate::{
    check::nothing_lost,
    write::{Writers, create_post},
};

const SERVERS: usize = 3;
const COMMENTS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_of_a_cluster_is_killed() -> Result {
    let mut system =
        System::start_with(Setup { nats_servers: SERVERS, ..Setup::new(Databases::Files) }).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "a cluster").await?;
    let writers = Writers::start(&system, &post, COMMENTS)?;
    for server in 0..SERVERS {
        writers.reach((server + 1) * COMMENTS as usize / (SERVERS + 1)).await?;
        system.nats.node(server).kill().await?;
        system.nats.node(server).restart().await?;
    }
    let acknowledged = writers.finish().await?;
    // Whichever server a service was connected to first, it has gone on with another one.
    nothing_lost(&system, &post, &acknowledged).await
}
