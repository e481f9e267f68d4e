//! Events of the bus, as a line for people and as JSON for scripts.

use agora_proto::event::v1::{Content, Decision, event::Kind};
use bus_schema::{Event, KindName};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value as Field};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{label, style, text, time};
use crate::json;

/// How much of a text is shown.
const EXCERPT: usize = 60;

/// One event in one line.
pub fn line(event: &Event) -> String {
    let time = time::exact(Some(&Timestamp::from(event.time)));
    let aggregate = event.aggregate.map(|id| id.to_string()).unwrap_or_default();
    format!(
        "{} {:<10} {:>7} {} {} {} {}",
        style::faint(&time),
        event.source.as_str(),
        event.sequence.0,
        style::strong(KindName::of(&event.kind).as_str()),
        style::person(&format!("{}/{}", event.site, text::line(&event.actor))),
        style::faint(&aggregate),
        what(&event.kind)
    )
}

fn what(kind: &Kind) -> String {
    match kind {
        Kind::PostCreated(event) => content(event.title.as_ref()),
        Kind::PostUpdated(event) => content(event.title.as_ref()),
        Kind::CommentCreated(event) => content(event.body.as_ref()),
        Kind::CommentUpdated(event) => content(event.body.as_ref()),
        Kind::RevisionDecided(event) => {
            let decision = label(event.decision().as_str_name(), "DECISION_");
            let revision = format!("revision {} {decision}", event.revision);
            match event.decision() {
                Decision::Approved => style::good(&revision),
                Decision::Rejected => style::bad(&revision),
                Decision::Pending | Decision::Unspecified => style::pending(&revision),
            }
        }
        Kind::PolicySet(event) => format!("version {}", event.version),
        Kind::PostDeleted(_)
        | Kind::PostClosed(_)
        | Kind::PostReopened(_)
        | Kind::CommentDeleted(_) => String::new(),
    }
}

fn content(content: Option<&Content>) -> String {
    match chassis::content::open(content) {
        Ok(content) => format!("“{}”", text::excerpt(content, EXCERPT)),
        Err(error) => format!("({error})"),
    }
}

/// One event as JSON: as protobuf's canonical form, except that ids are UUIDs, hashes
/// hexadecimal and plain contents texts.
pub fn value(bytes: &[u8]) -> Result<Value, prost::DecodeError> {
    let descriptor = json::descriptor("agora.event.v1.Event");
    Ok(message(&DynamicMessage::decode(descriptor, bytes)?))
}

fn message(message: &DynamicMessage) -> Value {
    match message.descriptor().full_name() {
        "agora.event.v1.Content" => plain(message).unwrap_or_else(|| object(message)),
        name if name.starts_with("google.protobuf.") => {
            serde_json::to_value(message).expect("a message is JSON")
        }
        _ => object(message),
    }
}

/// The text of a content that is not sealed.
fn plain(message: &DynamicMessage) -> Option<Value> {
    let content: Content = message.transcode_to().ok()?;
    let text = chassis::content::open(Some(&content)).ok()?;
    Some(text.into())
}

fn object(message: &DynamicMessage) -> Value {
    let fields = message.fields().map(|(descriptor, field)| {
        let value = if let Field::EnumNumber(number) = field {
            let kind = descriptor.kind();
            let named = kind.as_enum().and_then(|kind| kind.get_value(*number));
            named.map_or_else(|| json!(number), |named| named.name().into())
        } else {
            value_of(field)
        };
        (descriptor.json_name().to_owned(), value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn value_of(field: &Field) -> Value {
    match field {
        Field::Message(inner) => message(inner),
        Field::List(items) => items.iter().map(value_of).collect(),
        Field::Bytes(bytes) => match Uuid::from_slice(bytes) {
            Ok(id) => id.to_string().into(),
            Err(_) => hex(bytes).into(),
        },
        Field::String(text) => text.as_str().into(),
        Field::Bool(value) => (*value).into(),
        Field::I32(value) => (*value).into(),
        Field::I64(value) => value.to_string().into(),
        Field::U32(value) => (*value).into(),
        Field::U64(value) => value.to_string().into(),
        Field::F32(value) => (*value).into(),
        Field::F64(value) => (*value).into(),
        Field::EnumNumber(value) => (*value).into(),
        // The events have no maps.
        Field::Map(_) => Value::Null,
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use agora_proto::event::v1::{Author, CommentCreated};
    use bus_schema::{EventId, PostId, Sequence, Source, Time, plain};

    use super::*;

    fn created() -> Event {
        let post = PostId::new();
        Event {
            id: EventId::new(),
            source: Source::Comment,
            sequence: Sequence(7),
            time: Time::from_micros(1_383_805_248_000_000),
            actor: "ann".into(),
            request: None,
            site: "blog".parse().unwrap(),
            post_id: Some(post),
            aggregate: Some(Uuid::nil()),
            traceparent: String::new(),
            kind: Kind::CommentCreated(CommentCreated {
                depth: 1,
                body: Some(plain("hello\u{1b}[31m")),
                author: Some(Author { id: "ann".into(), name: Some(plain("Ann")) }),
                ..CommentCreated::default()
            }),
        }
    }

    #[test]
    fn an_event_is_one_line() {
        owo_colors::set_override(false);
        assert_eq!(
            line(&created()),
            "2013-11-07T06:20:48Z comment          7 comment_created blog/ann \
             00000000-0000-0000-0000-000000000000 “hello␛[31m”"
        );
    }

    #[test]
    fn an_event_as_json_is_decoded() {
        let event = created();
        let value = value(&event.encode()).unwrap();
        assert_eq!(value["id"], event.id.to_string());
        assert_eq!(value["source"], "SOURCE_COMMENT");
        assert_eq!(value["sequence"], "7");
        assert_eq!(value["time"], "2013-11-07T06:20:48Z");
        assert_eq!(value["commentCreated"]["body"], "hello\u{1b}[31m");
        assert_eq!(value["commentCreated"]["author"]["name"], "Ann");
    }
}
