use std::{any::TypeId, env};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::domain::Store;
use chassis::config;

/// A server that tests share, each with a schema of its own: a URL.
const SHARED: &str = "AGORA_TEST_POSTGRES";

/// Where the database of one service of a test is; with this, it goes.
pub struct Place {
    /// `[database]`.
    pub settings: config::Database,
    _folder: Option<TempDir>,
}

impl Place {
    /// A file in a folder of its own.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn file(name: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let path = folder.path().join(format!("{name}.db"));
        let settings = config::Database { path, ..Default::default() };
        Self { settings, _folder: Some(folder) }
    }

    /// A schema of its own in the server that tests share.
    ///
    /// # Panics
    /// If there is no such server.
    pub async fn schema() -> Self {
        let shared = env::var(SHARED).ok().filter(|url| !url.is_empty());
        let shared = shared.unwrap_or_else(|| panic!("{SHARED} is not set: run `./dev test`"));
        let settings = config::Database { url: Some(schema(&shared).await), ..Default::default() };
        Self { settings, _folder: None }
    }

    /// A place for this kind of store.
    pub async fn of<S: Store>(name: &str) -> Self {
        if TypeId::of::<S::Backend>() == TypeId::of::<sqlx::Postgres>() {
            Self::schema().await
        } else {
            Self::file(name)
        }
    }
}

/// Makes a schema of its own in a server, and returns the URL that leads to it.
async fn schema(url: &str) -> config::Secret {
    let name = format!("t_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL runs");
    let create = AssertSqlSafe(format!("CREATE SCHEMA {name}"));
    sqlx::query(create).execute(&mut connection).await.expect("a schema can be made");
    connection.close().await.ok();
    format!("{url}?options=-csearch_path%3D{name}").as_str().into()
}

/// Makes two tests of each of these functions: one gets the first expression, which stands
/// for SQLite, the other one the second, which stands for PostgreSQL.
#[macro_export]
macro_rules! on_every_database {
    ($sqlite:expr, $postgres:expr; $($test:ident),+ $(,)?) => {
        mod on_sqlite {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($sqlite).await;
                }
            )+
        }
        mod on_postgres {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($postgres).await;
                }
            )+
        }
    };
}
