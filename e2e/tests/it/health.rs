//! What processes say of themselves, and to whom.

use e2e::{Databases, Result, Role, Service, System, program, wait_until};
use tokio::process::Command;
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    check::{quiet, thread},
    write::{Writers, create_post},
};

/// What `--health` prints of whoever listens there, and whether it succeeds.
async fn asked(arguments: &[&str], url: &str) -> Result<(bool, String)> {
    let address = url.trim_start_matches("http://");
    let output = Command::new(program("agora")?)
        .args(arguments)
        .args(["--health", address])
        .output()
        .await?;
    let said = String::from_utf8(output.stdout)?;
    Ok((output.status.success(), said.trim_start_matches(address).trim().to_owned()))
}

async fn is_live(url: &str) -> Result<bool> {
    let mut client = HealthClient::new(Endpoint::from_shared(url.to_owned())?.connect().await?);
    let request = HealthCheckRequest { service: "liveness".into() };
    let answer = client.check(request).await?.into_inner();
    Ok(answer.status().as_str_name() == "SERVING")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_stay_ready_without_what_they_share() -> Result {
    let mut system = System::start_on(Databases::Postgres { replicas: 1 }).await?;
    create_post(&mut system.client("ada", Role::Author)?, "ready").await?;
    quiet(&system).await?;
    system.nats.kill().await?;
    system.postgres.as_mut().unwrap().kill().await?;
    for service in Service::ALL {
        let url = system.addresses().of(service)[0].clone();
        let noticed = || async {
            let health = system.health(service).await.unwrap_or_default();
            health.contains("NATS: ready: not connected")
        };
        wait_until("the service to notice", noticed).await?;
        let ready = (true, ": SERVING".to_owned());
        assert_eq!(asked(&["serve", service.as_str()], &url).await?, ready, "{service}");
        assert_eq!(asked(&[], &url).await?, ready, "{service}");
        assert!(is_live(&url).await?, "{service}");
    }
    let url = system.addresses().of(Service::Post)[0].clone();
    system.process(Service::Post).stop().await?;
    let (is_ready, said) = asked(&[], &url).await?;
    assert!(!is_ready && said.contains("no answer"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_served_without_the_bus() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "no bus").await?;
    Writers::start(&system, &post, 200)?.finish().await?;
    quiet(&system).await?;
    let reader = system.anonymous()?;
    let before = thread(&reader, &post, false).await?;
    system.nats.kill().await?;

    // One that holds nothing has nothing to say yet: nor have the owners, for a while.
    let after = ("AGORA_FALLBACK__AFTER_MS", "600000".to_owned());
    let another = system.another_query("another", &[after])?;
    let silent = (false, ": NOT_SERVING".to_owned());
    wait_until("it to answer", || async {
        asked(&["serve", "query"], &another.url()).await.is_ok_and(|said| said == silent)
    })
    .await?;
    assert!(is_live(&another.url()).await?);

    system.process(Service::Query).kill().await?;
    system.process(Service::Query).restart()?;
    system.ready(Service::Query).await?;
    assert_eq!(thread(&reader, &post, false).await?.comments, before.comments);
    assert_eq!(asked(&["serve", "query"], &another.url()).await?, silent);

    system.nats.restart().await?;
    another.ready().await
}
