//! Everything in one process: what `agora up` keeps in its data folder, and the NATS
//! server that it starts and stops itself.

pub mod config;
pub mod data;
pub mod disk;
pub mod greeting;
mod monitor;
pub mod nats;
pub mod process;
pub mod services;
mod supervisor;
