//! What is measured of a process when somebody asks for its metrics.

use std::sync::{Arc, atomic::Ordering};

use metrics::Unit;

use super::edge::Shared;

/// Measures how many requests are worked on, and how many may be.
pub(super) fn in_flight(shared: Arc<Shared>, limit: usize) -> impl Fn() {
    metrics::describe_gauge!(
        "agora_requests_in_flight",
        Unit::Count,
        "How many requests are worked on now, streams until their answer begins"
    );
    metrics::describe_gauge!(
        "agora_requests_in_flight_limit",
        Unit::Count,
        "How many requests may be worked on at the same time: server.max_in_flight"
    );
    move || {
        let in_flight = limit.saturating_sub(shared.in_flight.available_permits());
        metrics::gauge!("agora_requests_in_flight").set(in_flight as f64);
        metrics::gauge!("agora_requests_in_flight_limit").set(limit as f64);
    }
}

/// Counts how often the connection to NATS was lost and made again.
pub(super) fn reconnects(client: &async_nats::Client) -> impl Fn() + use<> {
    metrics::describe_counter!(
        "agora_nats_reconnects_total",
        Unit::Count,
        "How often this process has reconnected to NATS after it had lost the connection"
    );
    let statistics = client.statistics();
    move || {
        let again = statistics.connects.load(Ordering::Relaxed).saturating_sub(1);
        metrics::counter!("agora_nats_reconnects_total").absolute(again);
    }
}
