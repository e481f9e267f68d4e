//! How many cases wait, and for how long: what metrics say.

use agora_moderation::store::{Postgres, Read, Sqlite, Store};
use bus_schema::Time;
use eventstore::{database, on_every_database};

use crate::{
    decide::{approve, reject},
    fixture::{Fixture, Kind},
};

on_every_database! {
    Kind::Files, Kind::Schemas;
    the_cases_that_wait_are_counted,
}

async fn waiting(fixture: &Fixture) -> (u64, Option<Time>) {
    let settings = fixture.moderation_database();
    match &settings.url {
        None => Sqlite::reader(database::file_readers(&settings.path, 1)).waiting().await.unwrap(),
        Some(url) => {
            let readers = database::server_readers(url, 1).unwrap();
            Postgres::reader(readers).waiting().await.unwrap()
        }
    }
}

async fn the_cases_that_wait_are_counted(kind: Kind) {
    let fixture = Fixture::start(kind).await;
    assert_eq!(waiting(&fixture).await, (0, None));
    let before = Time::now();
    fixture.comment("I like this song").await;
    let first = fixture.held_comment().await;
    let second = fixture.held_comment().await;
    let (count, oldest) = waiting(&fixture).await;
    assert_eq!(count, 2);
    let first_since = oldest.filter(|oldest| *oldest >= before).unwrap();

    fixture.moderator("eve").approve_revision(approve(&first)).await.unwrap();
    let (count, oldest) = waiting(&fixture).await;
    assert!(count == 1 && oldest > Some(first_since), "{count} wait since {oldest:?}");
    fixture.moderator("eve").reject_revision(reject(&second)).await.unwrap();
    assert_eq!(waiting(&fixture).await, (0, None));
}
