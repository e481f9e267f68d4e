//! How full a service's pool of connections is, and how large the files of its database.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use metrics::Unit;
use sqlx::{Database, Pool};

use chassis::Host;

/// Measures how many of a service's reading connections are in use, and how many there may be.
/// The pool may be another one each time.
pub fn measure_pool<D: Database>(
    host: &Host,
    service: &'static str,
    readers: impl Fn() -> Pool<D> + Send + 'static,
) {
    metrics::describe_gauge!(
        "agora_pool_in_use",
        Unit::Count,
        "How many connections that read a service's database are in use"
    );
    metrics::describe_gauge!(
        "agora_pool_limit",
        Unit::Count,
        "How many connections may read a service's database at the same time"
    );
    let in_use = metrics::gauge!("agora_pool_in_use", "service" => service);
    let limit = metrics::gauge!("agora_pool_limit", "service" => service);
    host.sample(move || {
        let readers = readers();
        let open = readers.size() as usize;
        in_use.set(open.saturating_sub(readers.num_idle()) as f64);
        limit.set(f64::from(readers.options().get_max_connections()));
    });
}

/// Measures a service's SQLite file and its write-ahead log. The file may be another one each
/// time.
pub fn measure_file(
    host: &Host,
    service: &'static str,
    path: impl Fn() -> Option<PathBuf> + Send + 'static,
) {
    metrics::describe_gauge!(
        "agora_database_bytes",
        Unit::Bytes,
        "How large the SQLite file of a service is: of query, the view that is served"
    );
    metrics::describe_gauge!(
        "agora_wal_bytes",
        Unit::Bytes,
        "How large the write-ahead log beside the SQLite file of a service is"
    );
    let database = metrics::gauge!("agora_database_bytes", "service" => service);
    let wal = metrics::gauge!("agora_wal_bytes", "service" => service);
    host.sample(move || {
        let Some(path) = path() else { return };
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        database.set(size(&path) as f64);
        let mut name = OsString::from(path);
        name.push("-wal");
        wal.set(size(Path::new(&name)) as f64);
    });
}
