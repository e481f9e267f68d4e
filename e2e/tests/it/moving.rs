//! What services own is moved from SQLite files to PostgreSQL, by the program.

use std::{fs, path::Path, process::Output, time::Duration};

use agora_proto::comment::v1::CreateCommentRequest;
use chassis::version::PROGRAM;
use e2e::{Postgres, Process, Result, Role, Service, System, program};
use eventstore::database;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::{process::Command, time::Instant};
use uuid::Uuid;

use crate::{
    check::{nothing_lost, quiet},
    write::{SITE, Writers, create_post},
};

const COMMENTS: u64 = 3_000;

/// Moves a service.
async fn moved(system: &System, postgres: &Postgres, service: Service) -> Result<Output> {
    moved_from(&system.database(service), postgres, service).await
}

async fn moved_from(from: &Path, postgres: &Postgres, service: Service) -> Result<Output> {
    let mut command = Command::new(program("agora")?);
    command.args(["admin", "move", service.as_str(), "--from"]).arg(from);
    Ok(command.env("AGORA_DATABASE__URL", postgres.url(service.as_str())).output().await?)
}

/// Moves a service, which must be refused.
async fn refused(system: &System, postgres: &Postgres, service: Service) -> Result<String> {
    refused_from(&system.database(service), postgres, service).await
}

async fn refused_from(from: &Path, postgres: &Postgres, service: Service) -> Result<String> {
    let output = moved_from(from, postgres, service).await?;
    let told = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{told}");
    Ok(told)
}

/// Puts a dead letter and what was done about another one into a service's file.
async fn park(system: &System, service: Service) -> Result {
    let mut file = database::options(&system.database(service)).connect().await?;
    sqlx::query(
        "INSERT INTO dead_letter (source, sequence, aggregate, event, error, parked_at, program) \
         VALUES ('post', 999999, ?, x'00', 'as the test asks for', 1, ?)",
    )
    .bind(Uuid::now_v7())
    .bind(PROGRAM)
    .execute(&mut file)
    .await?;
    sqlx::query(
        "INSERT INTO dead_letter_log (id, time, actor, action, source, sequence, reason, error, event) \
         VALUES (1, 1, 'ada', 'dropped', 'post', 999998, 'ticket 17', '', x'00')",
    )
    .execute(&mut file)
    .await?;
    Ok(file.close().await?)
}

/// Kills a move while it writes.
async fn interrupted(system: &System, postgres: &Postgres, service: Service) -> Result {
    let from = system.database(service).display().to_string();
    let to = postgres.url(service.as_str());
    let arguments = ["admin", "move", service.as_str(), "--from", &from, "--to", &to];
    let log = system.folder().join("move.log");
    let mut watching = postgres.connect_to(service.as_str()).await?;
    let mut moving = Process::start(&program("agora")?, &arguments, &[], &log)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let writes: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity \
             WHERE application_name = 'agora move' AND query LIKE 'INSERT INTO \"journal\"%')",
        )
        .fetch_one(&mut watching)
        .await?;
        if writes {
            moving.kill().await?;
            break;
        }
        assert!(!moving.has_ended() && Instant::now() < deadline, "{}", moving.output());
    }
    let head: i64 =
        sqlx::query_scalar("SELECT sequence FROM journal_head").fetch_one(&mut watching).await?;
    assert_eq!(head, 0, "half of a move is seen");
    Ok(())
}

/// Compares the numbers of rows in the database with those that the move told.
async fn holds(postgres: &Postgres, service: Service, told: &str) -> Result {
    let mut connection: PgConnection = postgres.connect_to(service.as_str()).await?;
    let mut tables = 0;
    for line in told.lines() {
        let Some((table, rows)) = line.trim_start().split_once(": ") else { continue };
        let Some(rows) = rows.strip_suffix(" row").or(rows.strip_suffix(" rows")) else { continue };
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await?;
        assert_eq!(rows, count.to_string(), "{service} {table}");
        tables += 1;
    }
    assert!(tables >= 8, "{told}");
    Ok(())
}

/// Runs the program against a system.
async fn agora(system: &System, service: Service, arguments: &[&str]) -> Result<Output> {
    let addresses = system.addresses();
    let server = &addresses.of(service)[0];
    let token = system.token("operator", Role::Operator)?;
    let mut command = Command::new(program("agora")?);
    command.args(arguments).args(["--server", server, "--token", &token]);
    Ok(command.output().await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_moved_from_sqlite_to_postgres() -> Result {
    let mut system = System::start().await?;
    let mut client = system.client("ada", Role::Author)?;
    let post = create_post(&mut client, "moved").await?;
    let id = Uuid::now_v7();
    let request = CreateCommentRequest {
        site: SITE.into(),
        post_id: post.clone(),
        body: "asked again".into(),
        request_id: id.to_string(),
        ..Default::default()
    };
    let answer = client.comment.create_comment(request.clone()).await?.into_inner();
    let mut acknowledged = Writers::start(&system, &post, COMMENTS)?.finish().await?;
    acknowledged.insert(id, answer.comment.clone().unwrap());
    quiet(&system).await?;

    let postgres = Postgres::start(system.folder(), false).await?;
    for service in Service::OWNERS {
        postgres.make(service.as_str()).await?;
    }
    let told = refused(&system, &postgres, Service::Comment).await?;
    assert!(told.contains("in use by another process"), "{told}");
    for service in Service::ALL {
        system.process(service).stop().await?;
    }
    park(&system, Service::Comment).await?;

    interrupted(&system, &postgres, Service::Comment).await?;
    for service in Service::OWNERS {
        let before = fs::read(system.database(service))?;
        let output = moved(&system, &postgres, service).await?;
        let told = String::from_utf8(output.stdout)?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(told.contains("AGORA_DATABASE__URL") && told.contains("verifies"), "{told}");
        holds(&postgres, service, &told).await?;
        assert!(fs::read(system.database(service))? == before, "the file was changed");
        let again = moved(&system, &postgres, service).await?;
        assert!(String::from_utf8(again.stdout)?.contains("was moved before, and is equal"));
    }
    // What is not the same, is told and left alone.
    let mut connection = postgres.connect_to("moderation").await?;
    sqlx::query("UPDATE author SET approved = approved + 1").execute(&mut connection).await?;
    let told = refused(&system, &postgres, Service::Moderation).await?;
    assert!(told.contains("table author") && told.contains("holds other rows"), "{told}");
    sqlx::query("UPDATE author SET approved = approved - 1").execute(&mut connection).await?;

    system.postgres = Some(postgres);
    for service in Service::ALL {
        system.start_anew(service)?;
    }
    for service in Service::ALL {
        system.ready(service).await?;
    }
    let mut client = system.client("ada", Role::Author)?;
    let retried = client.comment.create_comment(request).await?.into_inner();
    assert_eq!(retried.comment, answer.comment);
    acknowledged.extend(Writers::start(&system, &post, 200)?.finish().await?);
    nothing_lost(&system, &post, &acknowledged).await?;

    let addresses = system.addresses();
    let mut verify = vec!["verify".to_owned(), "--nats-url".into(), system.nats.url()];
    for service in Service::ALL {
        verify.extend([format!("--{service}-server"), addresses.of(service)[0].clone()]);
    }
    let verify: Vec<&str> = verify.iter().map(String::as_str).collect();
    let verified = agora(&system, Service::Query, &verify).await?;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    // The dead letter came, too, and the log is gone on with.
    let drop = ["admin", "dead-letters", "drop", "comment", "post:999999", "--reason", "a test"];
    let dropped = agora(&system, Service::Comment, &drop).await?;
    assert!(dropped.status.success(), "{}", String::from_utf8_lossy(&dropped.stderr));
    let log = agora(&system, Service::Comment, &["admin", "dead-letters", "log"]).await?;
    let log = String::from_utf8(log.stdout)?;
    assert!(log.contains("ticket 17") && log.contains("a test"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_would_mix_or_damage_is_refused() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "refused").await?;
    Writers::start(&system, &post, 100)?.finish().await?;
    quiet(&system).await?;
    for service in Service::ALL {
        system.process(service).stop().await?;
    }
    let postgres = Postgres::start(system.folder(), false).await?;
    for service in Service::OWNERS {
        postgres.make(service.as_str()).await?;
    }

    let comment_file = system.database(Service::Comment);
    let absent = comment_file.with_extension("absent");
    let told = refused_from(&absent, &postgres, Service::Comment).await?;
    assert!(told.contains("there is no database file") && !absent.exists(), "{told}");
    // Another service's file.
    let told = refused_from(&comment_file, &postgres, Service::Post).await?;
    assert!(told.contains("does not hold what this version"), "{told}");

    // A journal that does not verify.
    let mut file = database::options(&comment_file).connect().await?;
    let change = "UPDATE journal SET event = x'00' WHERE sequence = 50";
    sqlx::query(change).execute(&mut file).await?;
    file.close().await?;
    let told = refused(&system, &postgres, Service::Comment).await?;
    assert!(told.contains("does not verify at 50"), "{told}");

    // A database that holds something else.
    assert!(moved(&system, &postgres, Service::Moderation).await?.status.success());
    let mut connection = postgres.connect_to("moderation").await?;
    sqlx::query("UPDATE journal_head SET sequence = sequence + 1").execute(&mut connection).await?;
    let told = refused(&system, &postgres, Service::Moderation).await?;
    assert!(told.contains("is not empty"), "{told}");
    let mut connection = postgres.connect_to("comment").await?;
    let row = "INSERT INTO checkpoint (source, sequence, hash) VALUES ('post', 1, '')";
    sqlx::query(row).execute(&mut connection).await?;
    let told = refused(&system, &postgres, Service::Comment).await?;
    assert!(told.contains("there are rows in checkpoint"), "{told}");

    // A service that runs on it.
    let lock = "SELECT pg_advisory_lock('journal'::regclass::oid::bigint)";
    sqlx::query(lock).execute(&mut connection).await?;
    let told = refused(&system, &postgres, Service::Comment).await?;
    assert!(told.contains("stop the service that runs on it"), "{told}");
    Ok(())
}
