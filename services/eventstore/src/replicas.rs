//! Several replicas of one service: which one leads, and what the others commit. Where the
//! database belongs to one process, that one leads always.

use bus_schema::Source;
use sqlx::{Postgres, Sqlite};

use crate::{
    Watermarks,
    database::{Backend, Database},
    leader::{self, Leadership},
    notify,
};
use chassis::Host;

/// A kind of database, and how the replicas that share one find each other.
pub trait Replicas: Backend {
    /// Has the replicas elect the one that leads, and learn of each other's commits.
    fn join(
        host: &mut Host,
        service: Source,
        consumes: &'static [Source],
        database: &Database<Self>,
        watermarks: &Watermarks,
    ) -> Leadership;
}

impl Replicas for Postgres {
    fn join(
        host: &mut Host,
        service: Source,
        consumes: &'static [Source],
        database: &Database<Self>,
        watermarks: &Watermarks,
    ) -> Leadership {
        database.arrivals.tell(service, consumes, watermarks);
        notify::spawn(host, service, consumes, &database.readers, watermarks);
        let session = database.options.clone().options(leader::SESSION);
        Leadership::elect(host, service.as_str(), session)
    }
}

impl Replicas for Sqlite {
    fn join(
        _host: &mut Host,
        service: Source,
        _consumes: &'static [Source],
        _database: &Database<Self>,
        _watermarks: &Watermarks,
    ) -> Leadership {
        Leadership::alone(service.as_str())
    }
}
