//! The tables of both databases, and their SQL.

use sqlx::{AssertSqlSafe, Decode, PgConnection, Row, Type};

use super::rows::{Cell, Chunk};

/// The table of events, whose first columns are sequence, hash and event.
pub(super) const JOURNAL: &str = "journal";

/// A table by its columns, in the order of the PostgreSQL database.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

/// One of them.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether the database numbers its rows.
    is_identity: bool,
}

/// A type in the PostgreSQL database; in the file it is an integer, bytes or text.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Integer,
    Boolean,
    Bytes,
    Uuid,
    Text,
}

/// The tables of a PostgreSQL database, those aside that migrations keep for themselves.
pub(super) async fn tables(database: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    let columns: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT t.table_name::text, c.column_name::text, c.udt_name::text, c.is_identity = 'YES' \
         FROM information_schema.tables t \
         JOIN information_schema.columns c USING (table_schema, table_name) \
         WHERE t.table_schema = current_schema() AND t.table_type = 'BASE TABLE' \
         AND left(t.table_name, 1) <> '_' \
         ORDER BY t.table_name, c.ordinal_position",
    )
    .fetch_all(database)
    .await?;
    let mut tables: Vec<Table> = Vec::new();
    for (table, name, kind, is_identity) in columns {
        let kind = match kind.as_str() {
            "int4" | "int8" => Kind::Integer,
            "bool" => Kind::Boolean,
            "bytea" => Kind::Bytes,
            "uuid" => Kind::Uuid,
            "text" => Kind::Text,
            _ => return Err(sqlx::Error::TypeNotFound { type_name: kind }),
        };
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(Table { name: table, columns: Vec::new() });
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push(Column { name, kind, is_identity });
        }
    }
    Ok(tables)
}

impl Table {
    pub(super) fn select_from_file(&self) -> String {
        self.select(|column| format!("\"{}\"", column.name))
    }

    /// With the types that the file has.
    pub(super) fn select_from_database(&self) -> String {
        self.select(|Column { name, kind, .. }| match kind {
            Kind::Integer => format!("\"{name}\"::bigint"),
            Kind::Boolean => format!("\"{name}\"::integer::bigint"),
            Kind::Uuid => format!("uuid_send(\"{name}\")"),
            Kind::Bytes | Kind::Text => format!("\"{name}\""),
        })
    }

    fn select(&self, column: impl Fn(&Column) -> String) -> String {
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        // The journal's chain is followed.
        let order = if self.name == JOURNAL { " ORDER BY sequence" } else { "" };
        format!("SELECT {} FROM \"{}\"{order}", columns.join(", "), self.name)
    }

    /// The values of a row of one of the two.
    pub(super) fn cells<'r, R: Row>(&self, row: &'r R) -> Result<Vec<Cell>, sqlx::Error>
    where
        usize: sqlx::ColumnIndex<R>,
        Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
        Option<Vec<u8>>: Decode<'r, R::Database> + Type<R::Database>,
        Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    {
        let cell = |(index, column): (usize, &Column)| {
            Ok(match column.kind {
                Kind::Integer | Kind::Boolean => Cell::Integer(row.try_get(index)?),
                Kind::Bytes | Kind::Uuid => Cell::Bytes(row.try_get(index)?),
                Kind::Text => Cell::Text(row.try_get(index)?),
            })
        };
        self.columns.iter().enumerate().map(cell).collect()
    }

    /// Writes rows, each column as an array.
    pub(super) async fn insert(
        &self,
        database: &mut PgConnection,
        chunk: &Chunk,
    ) -> Result<(), sqlx::Error> {
        if chunk.rows.is_empty() {
            return Ok(());
        }
        let (mut names, mut values, mut arrays) = (Vec::new(), Vec::new(), Vec::new());
        for (index, Column { name, kind, .. }) in self.columns.iter().enumerate() {
            let number = index + 1;
            let (value, array) = match kind {
                Kind::Integer => (format!("c{number}"), "bigint"),
                Kind::Boolean => (format!("c{number} <> 0"), "bigint"),
                Kind::Bytes => (format!("c{number}"), "bytea"),
                Kind::Uuid => (format!("encode(c{number}, 'hex')::uuid"), "bytea"),
                Kind::Text => (format!("c{number}"), "text"),
            };
            names.push(format!("\"{name}\""));
            values.push(value);
            arrays.push((format!("c{number}"), format!("${number}::{array}[]")));
        }
        let (columns, arrays): (Vec<String>, Vec<String>) = arrays.into_iter().unzip();
        let insert = format!(
            "INSERT INTO \"{}\" ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM UNNEST({}) AS r ({})",
            self.name,
            names.join(", "),
            values.join(", "),
            arrays.join(", "),
            columns.join(", "),
        );
        let query = sqlx::query_with(AssertSqlSafe(insert), chunk.arrays(self)?);
        query.execute(database).await?;
        Ok(())
    }

    /// Has the database number on from the greatest number.
    pub(super) async fn number_on(&self, database: &mut PgConnection) -> Result<(), sqlx::Error> {
        for Column { name, .. } in self.columns.iter().filter(|column| column.is_identity) {
            let table = &self.name;
            let set = format!(
                "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{name}'), max(\"{name}\")) \
                 FROM \"{table}\""
            );
            sqlx::query(AssertSqlSafe(set)).execute(&mut *database).await?;
        }
        Ok(())
    }
}
