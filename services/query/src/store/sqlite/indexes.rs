//! Indexes are made last where a view is made anew: the fold reads by primary keys alone,
//! and a sorted index is written several times as fast as one that grows.

use sqlx::AssertSqlSafe;

use super::View;

impl View {
    /// Takes the indexes of an empty view away, and keeps how they are made. A view that
    /// lacks them is not finished.
    ///
    /// # Errors
    /// What the database says.
    pub async fn take_indexes_away(&mut self) -> Result<(), sqlx::Error> {
        if self.is_unfinished().await? {
            return Ok(());
        }
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let drops: String = names.iter().map(|name| format!("DROP INDEX {name};")).collect();
        let change = format!(
            "BEGIN IMMEDIATE; \
             CREATE TABLE missing_index AS SELECT sql FROM sqlite_master \
                 WHERE type = 'index' AND sql IS NOT NULL; \
             {drops} COMMIT"
        );
        sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Makes the indexes that were taken away.
    ///
    /// # Errors
    /// What the database says.
    pub async fn make_indexes(&mut self) -> Result<(), sqlx::Error> {
        if !self.is_unfinished().await? {
            return Ok(());
        }
        let statements: Vec<String> = sqlx::query_scalar("SELECT sql FROM missing_index")
            .fetch_all(&mut self.connection)
            .await?;
        let change =
            format!("BEGIN IMMEDIATE; {}; DROP TABLE missing_index; COMMIT", statements.join(";"));
        sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Whether the view lacks its indexes.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_unfinished(&mut self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'missing_index')",
        )
        .fetch_one(&mut self.connection)
        .await
    }
}
