//! What the next version could add to a database, for the tests of upgrades.

use std::{borrow::Cow, env};

use sqlx::{
    AssertSqlSafe, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::schema_version::MARK;
use chassis::version::PROGRAM;

/// If it is set, the next version makes a database that the present one must not use.
const BREAKS: &str = "AGORA_NEXT_BREAKS";
/// The numbers of its migrations, which no real one has.
const HARMLESS: i64 = 9_998;
const BREAKING: i64 = 9_999;

/// One more column in each table, which the present version does not know and can do
/// without; and, if it is asked for, something that it must not do without.
pub(super) fn migrations(known: &Migrator) -> Vec<Migration> {
    let present = env!("CARGO_PKG_VERSION");
    let mut columns = format!("{MARK}{present}.\n");
    let lines = known.iter().flat_map(|migration| migration.sql.as_str().lines());
    for table in lines.filter_map(|line| line.strip_prefix("CREATE TABLE ")) {
        let name = table.split([' ', '(']).next().unwrap_or_default();
        columns += &format!("ALTER TABLE {name} ADD COLUMN next_version INTEGER;\n");
    }
    let mut migrations = vec![migration(HARMLESS, columns)];
    if env::var_os(BREAKS).is_some() {
        migrations.push(migration(BREAKING, format!("{MARK}{PROGRAM}.\nSELECT 1;\n")));
    }
    migrations
}

fn migration(number: i64, sql: String) -> Migration {
    let sql = AssertSqlSafe(sql).into_sql_str();
    Migration::new(number, Cow::Borrowed("next version"), MigrationType::Simple, sql, false)
}
