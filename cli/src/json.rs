//! Resources as JSON: protobuf's canonical form, one a line.

use std::sync::LazyLock;

use agora_proto::{
    FILE_DESCRIPTOR_SET, admin::v1 as admin, comment::v1 as comment, moderation::v1 as moderation,
    post::v1 as post, query::v1 as query,
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

use crate::error::Error;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build made the descriptors")
});

/// A message that is printed as JSON.
pub trait Resource: Message + Default {
    /// Its full name in the protos.
    const NAME: &'static str;
}

macro_rules! resources {
    ($($message:ty => $name:literal)*) => {$(
        impl Resource for $message {
            const NAME: &'static str = $name;
        }
    )*};
}

resources! {
    admin::DeadLetter => "agora.admin.v1.DeadLetter"
    admin::DeadLetterAction => "agora.admin.v1.DeadLetterAction"
    post::Post => "agora.post.v1.Post"
    comment::Comment => "agora.comment.v1.Comment"
    moderation::Policy => "agora.moderation.v1.Policy"
    moderation::Case => "agora.moderation.v1.Case"
    moderation::CaseContext => "agora.moderation.v1.CaseContext"
    query::ThreadPost => "agora.query.v1.ThreadPost"
    query::ThreadComment => "agora.query.v1.ThreadComment"
}

/// The description of a message by its full name.
pub fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).expect("the protos define the message")
}

/// A resource as a JSON value.
pub fn value<R: Resource>(resource: &R) -> Value {
    let mut dynamic = DynamicMessage::new(descriptor(R::NAME));
    dynamic.transcode_from(resource).expect("the message is of this type");
    serde_json::to_value(&dynamic).expect("a message is JSON")
}

/// A resource as one line of JSON, with the position of the answer that held it.
pub fn line<R: Resource>(resource: &R, position: &str) -> String {
    let mut value = value(resource);
    if let Some(object) = value.as_object_mut().filter(|_| !position.is_empty()) {
        object.insert("position".to_owned(), position.into());
    }
    value.to_string()
}

/// A resource from JSON; field names may be those of the proto or their camelCase.
pub fn parse<R: Resource>(value: Value) -> Result<R, Error> {
    let dynamic = DynamicMessage::deserialize(descriptor(R::NAME), value)
        .map_err(|error| Error::plain(error.to_string()))?;
    Ok(dynamic.transcode_to().expect("the message is of this type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_one_line_with_its_position() {
        let post = post::Post {
            post_id: "p".into(),
            title: "two\nlines".into(),
            create_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            state: post::PostState::Open.into(),
            ..Default::default()
        };
        let line = line(&post, "post:3");
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["postId"], "p");
        assert_eq!(value["createTime"], "1970-01-01T00:00:00Z");
        assert_eq!(value["state"], "POST_STATE_OPEN");
        assert_eq!(value["position"], "post:3");
    }

    #[test]
    fn every_resource_is_known() {
        value(&comment::Comment::default());
        value(&moderation::Policy::default());
        value(&moderation::Case::default());
        value(&moderation::CaseContext::default());
        value(&query::ThreadPost::default());
        value(&query::ThreadComment::default());
    }

    #[test]
    fn unknown_fields_are_refused() {
        let value = serde_json::json!({ "max_links": 3, "colour": "red" });
        assert!(parse::<moderation::Policy>(value).is_err());
    }
}
