use bus_schema::{Event, Source};
use chassis::domain::ConsumeError;

/// The post service consumes no other source: nothing reaches this.
///
/// # Errors
/// Always, if something does.
pub(crate) fn consume(source: Source, events: &[Event]) -> Result<(), ConsumeError> {
    let count = events.len();
    Err(ConsumeError::Event(format!("{count} events of {source} for the post service").into()))
}
