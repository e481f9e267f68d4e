//! The program is replaced by its next version, and rolled back, while clients write.

use std::path::Path;

use e2e::{
    Databases, Result, Role, Service, System,
    faults::{Load, Manner, settle},
    next_program, program, wait_until,
};
use eventstore::database;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::process::Command;

use crate::{
    check::nothing_lost,
    write::{Writers, create_post},
};

/// How many writes are acknowledged between one version and the other.
const WRITES: usize = 100;
/// Consumers are released before those whose events they consume.
const ORDER: [Service; 4] = [Service::Query, Service::Moderation, Service::Comment, Service::Post];

/// What a program calls its version.
async fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output().await?;
    let said = String::from_utf8(output.stdout)?;
    Ok(said.split_whitespace().last().ok_or("it says no version")?.to_owned())
}

/// Whether the next version has migrated a service's database.
async fn is_migrated(system: &System, service: Service) -> Result<bool> {
    if let (Some(postgres), true) = (&system.postgres, service != Service::Query) {
        let mut connection = PgConnection::connect(&postgres.url(service.as_str())).await?;
        let columns = "SELECT count(*) FROM information_schema.columns \
             WHERE table_name = 'journal' AND column_name = 'next_version'";
        return Ok(sqlx::query_scalar::<_, i64>(columns).fetch_one(&mut connection).await? == 1);
    }
    let mut connection = database::options(&system.database(service)).connect().await?;
    let columns = "SELECT count(*) FROM pragma_table_info('checkpoint') \
         WHERE name = 'next_version'";
    Ok(sqlx::query_scalar::<_, i64>(columns).fetch_one(&mut connection).await? == 1)
}

/// Waits until so many more writes are acknowledged.
async fn written(load: &Load) -> Result {
    let before = load.acknowledged();
    wait_until("more writes", || async { load.acknowledged() >= before + WRITES }).await
}

async fn upgraded_and_rolled_back(databases: Databases) -> Result {
    let (present, next) = (program("agora")?, next_program()?);
    assert_ne!(version(&present).await?, version(&next).await?);
    let mut system = System::start_on(databases).await?;
    let load = Load::start(&system.access, Manner::Pressing, 1).await?;
    written(&load).await?;
    for service in ORDER {
        assert!(!is_migrated(&system, service).await?, "{service} is migrated already");
        system.replace(service, &next).await?;
        assert!(is_migrated(&system, service).await?, "{service} is not migrated");
        written(&load).await?;
    }
    for service in ORDER.into_iter().rev() {
        system.replace(service, &present).await?;
        written(&load).await?;
    }
    let found = settle(&system, load).await?;
    assert!(found.findings.is_empty(), "{:#?}", found.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgraded_and_rolled_back_on_sqlite() -> Result {
    upgraded_and_rolled_back(Databases::Files).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgraded_and_rolled_back_with_three_replicas() -> Result {
    upgraded_and_rolled_back(Databases::Postgres { replicas: 3 }).await
}

/// What the next version does to a database may be more than the present one can do with.
async fn a_program_that_is_too_old_refuses(databases: Databases) -> Result {
    let (present, next) = (program("agora")?, next_program()?);
    let mut system = System::start_on(databases).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "too old").await?;
    let acknowledged = Writers::start(&system, &post, 200)?.finish().await?;
    let needed = format!(
        "belongs to a newer version of agora: {} or newer is needed, and this is {}",
        version(&next).await?,
        version(&present).await?,
    );
    for service in ORDER {
        let process = system.process(service);
        process.stop().await?;
        process.become_program(&next, Some(("AGORA_NEXT_BREAKS", "1")));
        process.restart()?;
        system.ready(service).await?;

        let process = system.process(service);
        process.stop().await?;
        process.become_program(&present, None);
        process.restart()?;
        let process = std::cell::RefCell::new(process);
        wait_until("it to refuse", || async { process.borrow_mut().has_ended() }).await?;
        let output = process.borrow().output();
        assert!(output.contains(&needed), "{service} printed: {output}");

        let process = system.process(service);
        process.become_program(&next, None);
        process.restart()?;
        system.ready(service).await?;
    }
    let more = Writers::start(&system, &post, 200)?.finish().await?;
    nothing_lost(&system, &post, &acknowledged.into_iter().chain(more).collect()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_too_old_refuses_a_file() -> Result {
    a_program_that_is_too_old_refuses(Databases::Files).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_too_old_refuses_a_server() -> Result {
    a_program_that_is_too_old_refuses(Databases::Postgres { replicas: 1 }).await
}
