//! Backups are made and put back by the very commands of the operations guide, while clients
//! write.

use std::{fs, path::Path};

use e2e::{Databases, Result, Role, Service, System};
use tokio::process::Command;

use crate::{
    check::{nothing_lost, quiet},
    write::{Writers, create_post},
};

const GUIDE: &str = include_str!("../../../deploy/README.md");
const COMMENTS: u64 = 1_500;

/// The commands that stand in the guide under a name.
fn commands(name: &str) -> String {
    let mark = format!("<!-- rehearsed: {name} -->\n```sh\n");
    let (_, rest) = GUIDE.split_once(&mark).unwrap_or_else(|| panic!("no {mark} in the guide"));
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs commands of the guide for a service, with its variables.
async fn run(system: &System, name: &str, service: Service) -> Result {
    let copy = system.folder().join(format!("backup-{service}"));
    let mut shell = Command::new("sh");
    shell.args(["-euc", &commands(name)]).env("COPY", copy).env("SERVICE", service.as_str());
    match &system.postgres {
        None => shell.env("FILE", system.database(service)),
        Some(postgres) => {
            let url = postgres.url(service.as_str());
            let admin = url.replace("service@", "agora@");
            let admin = admin.replace(&format!("/{service}"), "/postgres");
            // The programs of the server's own version.
            let programs = std::env::var("AGORA_POSTGRES_BIN")?;
            let path = std::env::var("PATH")?;
            shell
                .env("PATH", format!("{programs}:{path}"))
                .env("URL", url)
                .env("ADMIN_URL", admin)
                .env("ROLE", "service")
        }
    };
    let output = shell.output().await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name} of {service}: {told}");
    Ok(())
}

/// Loses the databases of every service that owns events.
async fn lose(system: &System) -> Result {
    for service in Service::OWNERS {
        match &system.postgres {
            None => {
                let file = system.database(service);
                for entry in fs::read_dir(file.parent().ok_or("no folder")?)? {
                    fs::remove_file(entry?.path())?;
                }
            }
            Some(postgres) => postgres.forget(service.as_str()).await?,
        }
    }
    Ok(())
}

async fn rehearse(databases: Databases, back_up: &str, restore: &str) -> Result {
    let mut system = System::start_on(databases).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "backup").await?;
    let writers = Writers::start(&system, &post, COMMENTS)?;
    writers.reach(COMMENTS as usize / 3).await?;
    for service in Service::OWNERS {
        run(&system, back_up, service).await?;
    }
    assert!(writers.count() < COMMENTS as usize, "nothing was written during the backup");
    let mut acknowledged = writers.finish().await?;
    quiet(&system).await?;

    for service in Service::OWNERS {
        system.process(service).stop().await?;
    }
    lose(&system).await?;
    for service in Service::OWNERS {
        run(&system, restore, service).await?;
    }
    for service in Service::OWNERS {
        assert!(holds_less(&system, service).await?, "the backup of {service} was complete");
        system.process(service).restart()?;
    }
    for service in Service::OWNERS {
        system.ready(service).await?;
    }
    acknowledged.extend(Writers::start(&system, &post, 100)?.finish().await?);
    nothing_lost(&system, &post, &acknowledged).await
}

/// Whether what was put back lacks events of the stream, so that something is to be completed.
/// There is one post, which every backup has.
async fn holds_less(system: &System, service: Service) -> Result<bool> {
    use sqlx::{ConnectOptions as _, Connection as _};

    let query = "SELECT sequence FROM journal_head";
    let head: i64 = match &system.postgres {
        None => {
            let file: &Path = &system.database(service);
            let mut file =
                sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await?;
            let head = sqlx::query_scalar(query).fetch_one(&mut file).await?;
            file.close().await?;
            head
        }
        Some(postgres) => {
            let mut connection = postgres.connect_to(service.as_str()).await?;
            sqlx::query_scalar(query).fetch_one(&mut connection).await?
        }
    };
    Ok(head > 0 && (service == Service::Post || head < COMMENTS.cast_signed()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_backed_up_and_restored_as_the_guide_says() -> Result {
    rehearse(Databases::Files, "back up a file", "restore a file").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_backed_up_and_restored_as_the_guide_says() -> Result {
    let databases = Databases::Postgres { replicas: 1 };
    rehearse(databases, "back up a database", "restore a database").await
}
