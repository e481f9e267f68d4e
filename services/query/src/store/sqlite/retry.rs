use std::collections::BTreeSet;

use bus_schema::{Event, PostId, Sequence, Source};
use eventstore::{
    database::Backend as _,
    dead_letter::{self, Action, DeadLetter, Done, Letters as _, PROGRAM, Refused, Repaired},
};
use sqlx::Sqlite;
use uuid::Uuid;

use super::{Error, View, load, write};
use crate::domain::Touched;

/// Why a letter was not applied.
enum Untried {
    /// The event is to blame.
    Event(String),
    /// The view is.
    View(Error),
}

impl From<sqlx::Error> for Untried {
    fn from(error: sqlx::Error) -> Self {
        if Sqlite::is_data_error(&error) {
            Self::Event(chassis::error::chain(&error))
        } else {
            Self::View(error.into())
        }
    }
}

impl View {
    /// Tries to apply a dead letter, and then what waits behind it; returns the posts that
    /// this has touched, too.
    ///
    /// # Errors
    /// [`Refused`], if there is no such letter or if it waits itself.
    pub async fn retry(
        &mut self,
        source: Source,
        sequence: Sequence,
        actor: &str,
    ) -> Result<(Repaired, BTreeSet<PostId>), Refused> {
        let found = dead_letter::first::<Sqlite>(&mut self.dead_letters, source, sequence).await;
        let letter = found.map_err(chassis::Error::from)??;
        let retried = self.retry_aggregate(source, letter.aggregate, actor).await;
        Ok(retried.map_err(chassis::Error::from)?)
    }

    /// Tries what programs of other versions have parked of a source.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn retry_outdated(
        &mut self,
        source: Source,
    ) -> Result<(Repaired, BTreeSet<PostId>), Error> {
        let (mut repaired, mut posts) = (Repaired::default(), BTreeSet::new());
        let actor = format!("agora {PROGRAM}");
        for aggregate in Sqlite::outdated(&mut self.dead_letters, source).await? {
            let (tried, touched) = self.retry_aggregate(source, aggregate, &actor).await?;
            repaired.applied += tried.applied;
            repaired.stopped_at = tried.stopped_at.or(repaired.stopped_at);
            posts.extend(touched);
        }
        Ok((repaired, posts))
    }

    async fn retry_aggregate(
        &mut self,
        source: Source,
        aggregate: Option<Uuid>,
        actor: &str,
    ) -> Result<(Repaired, BTreeSet<PostId>), Error> {
        let (mut repaired, mut posts) = (Repaired::default(), BTreeSet::new());
        while let Some(letter) =
            Sqlite::first_letter(&mut self.dead_letters, source, aggregate).await?
        {
            let applied = self.apply_letter(&letter).await;
            if applied.is_err() {
                Sqlite::rollback(&mut self.connection).await.ok();
            }
            let mut action = Action::now(&letter, actor, Done::Retried);
            match applied {
                Ok(touched) => {
                    posts.extend(touched);
                    repaired.applied += 1;
                    self.settle_letter(&action).await?;
                }
                Err(Untried::Event(error)) => {
                    action.error.clone_from(&error);
                    self.settle_letter(&action).await?;
                    let program = PROGRAM.to_owned();
                    repaired.stopped_at = Some(DeadLetter { error, program, ..letter });
                    break;
                }
                Err(Untried::View(error)) => return Err(error),
            }
        }
        self.read_parked().await?;
        Ok((repaired, posts))
    }

    /// Folds a letter's event into the view, unless that was done before.
    async fn apply_letter(&mut self, letter: &DeadLetter) -> Result<Option<PostId>, Untried> {
        let event = Event::decode(letter.event.clone())
            .map_err(|error| Untried::Event(error.to_string()))?;
        let mut touched = Touched::default();
        touched.add(&event).map_err(|error| Untried::Event(error.to_string()))?;
        let mut state = load::begin(&mut self.connection, touched).await?;
        let noted = sqlx::query(
            "INSERT INTO retried (source, sequence) VALUES (?, ?) \
             ON CONFLICT (source, sequence) DO NOTHING",
        )
        .bind(letter.source.as_str())
        .bind(letter.sequence.as_i64())
        .execute(&mut self.connection)
        .await?;
        if noted.rows_affected() == 1 {
            state.fold(&event).map_err(|error| Untried::Event(error.to_string()))?;
            self.settle(&mut state).await?;
            write::changed(&mut self.connection, &state).await?;
        }
        Sqlite::commit(&mut self.connection).await?;
        Ok(event.post_id)
    }

    /// Takes a letter out if it was applied, and keeps what was done.
    async fn settle_letter(&mut self, action: &Action) -> Result<(), sqlx::Error> {
        let (source, sequence) = (action.source, action.sequence);
        if action.error.is_empty() {
            Sqlite::unpark(&mut self.dead_letters, source, sequence).await?;
        } else {
            Sqlite::blame(&mut self.dead_letters, source, sequence, &action.error).await?;
        }
        Sqlite::record(&mut self.dead_letters, action).await?;
        action.tell();
        Ok(())
    }
}
