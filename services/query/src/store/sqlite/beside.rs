//! What is to be known of a view besides what it holds.

use super::View;

impl View {
    /// Notes that the view holds what the dead letters' log tells of until now.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn note_repairs(&mut self) -> Result<(), sqlx::Error> {
        let last = self.last_repair().await?;
        sqlx::query("UPDATE beside SET repairs = ?")
            .bind(last)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Whether dead letters were applied to another view since: this one lacks them.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn missed_repairs(&mut self) -> Result<bool, sqlx::Error> {
        let noted: i64 = sqlx::query_scalar("SELECT repairs FROM beside")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(noted != self.last_repair().await?)
    }

    async fn last_repair(&mut self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM dead_letter_log WHERE error = ''")
            .fetch_one(&mut self.dead_letters)
            .await
    }

    /// Notes that the view has once caught up with the streams.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn set_complete(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE beside SET complete = 1").execute(&mut self.connection).await?;
        Ok(())
    }

    /// Whether it has.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn is_complete(&mut self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT complete FROM beside").fetch_one(&mut self.connection).await
    }

    /// Notes whether the view was found to differ from the one that is served.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn set_differs(&mut self, differs: bool) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE beside SET differs = ?")
            .bind(differs)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Whether it was.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn differs(&mut self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT differs FROM beside").fetch_one(&mut self.connection).await
    }
}

#[cfg(test)]
mod tests {
    use bus_schema::{Sequence, Source, Time};
    use eventstore::dead_letter::{Action, Done, Letters as _};
    use sqlx::Sqlite;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_view_lacks_the_letters_that_another_one_was_given() {
        let folder = TempDir::new().unwrap();
        let mut view = View::open(&folder.path().join("view.db")).await.unwrap();
        view.note_repairs().await.unwrap();
        assert!(!view.missed_repairs().await.unwrap());
        let mut action = Action {
            time: Time::now(),
            actor: "olga".into(),
            done: Done::Retried,
            source: Source::Comment,
            sequence: Sequence(1),
            reason: String::new(),
            error: "still unknown".into(),
            event: Default::default(),
        };
        Sqlite::record(&mut view.dead_letters, &action).await.unwrap();
        assert!(!view.missed_repairs().await.unwrap());
        action.error.clear();
        Sqlite::record(&mut view.dead_letters, &action).await.unwrap();
        assert!(view.missed_repairs().await.unwrap());
    }
}
