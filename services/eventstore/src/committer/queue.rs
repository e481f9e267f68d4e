use std::sync::Arc;

use bus_schema::Source;
use metrics::Unit;
use tokio::sync::{Semaphore, mpsc::WeakSender};

use super::{MAX_QUEUED, MAX_QUEUED_BYTES};

/// Measures how many commands and bytes of them wait for a service's committer, and how many
/// may. The queue closes whether it is measured or not.
pub(super) fn measure<T: Send + 'static>(
    source: Source,
    commands: WeakSender<T>,
    bytes: Arc<Semaphore>,
) -> impl Fn() + Send + use<T> {
    metrics::describe_gauge!(
        "agora_queue_commands",
        Unit::Count,
        "How many commands wait for a service's committer"
    );
    metrics::describe_gauge!(
        "agora_queue_commands_limit",
        Unit::Count,
        "How many commands may wait for a service's committer"
    );
    metrics::describe_gauge!(
        "agora_queue_bytes",
        Unit::Bytes,
        "How much the commands hold that wait for a service's committer or are carried out"
    );
    metrics::describe_gauge!(
        "agora_queue_bytes_limit",
        Unit::Bytes,
        "How much the commands may hold that wait for a service's committer or are carried out"
    );
    let service = source.as_str();
    move || {
        let waiting = commands.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        let held = MAX_QUEUED_BYTES - bytes.available_permits();
        for (name, value) in [
            ("agora_queue_commands", waiting),
            ("agora_queue_commands_limit", MAX_QUEUED),
            ("agora_queue_bytes", held),
            ("agora_queue_bytes_limit", MAX_QUEUED_BYTES),
        ] {
            metrics::gauge!(name, "service" => service).set(value as f64);
        }
    }
}
