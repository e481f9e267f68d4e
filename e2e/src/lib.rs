//! Tests and benches that run the real programs: this library starts them, kills them
//! and talks to them.

mod access;
pub mod bench;
mod client;
mod clock;
mod data;
mod disk;
pub mod faults;
mod nats;
mod otlp;
mod postgres;
mod process;
mod proxy;
mod stranger;
mod system;

pub use access::Access;
pub use client::{Addresses, Client, Connection, Raw, Role, token};
pub use clock::Clock;
pub use data::{comments, files};
pub use disk::SmallDisk;
pub use nats::Nats;
pub use otlp::{Collected, Collector};
pub use postgres::{Postgres, Standby};
pub use process::{Process, free_port, next_program, program, wait_until};
pub use proxy::Proxy;
pub use stranger::Stranger;
pub use system::{Another, Databases, Disk, Service, Setup, System, http_answer, http_get};

/// What tests and benches return.
pub type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
