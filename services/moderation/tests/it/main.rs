//! The service over gRPC, a real NATS and the services that it follows.

#![allow(clippy::unwrap_used, missing_docs)]

mod dead_letters;
mod decide;
mod fixture;
mod queue;
mod restart;
