//! The protobuf messages and gRPC services of Agora, as Rust code.
//!
//! The modules mirror the proto packages: `agora.post.v1` is [`post::v1`].
//! [`FILE_DESCRIPTOR_SET`] is what reflection serves and where the permissions of
//! the methods are read from.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

macro_rules! package {
    ($name:ident, $package:literal) => {
        pub mod $name {
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

package!(admin, "agora.admin.v1");
package!(auth, "agora.auth.v1");
package!(comment, "agora.comment.v1");
package!(event, "agora.event.v1");
package!(moderation, "agora.moderation.v1");
package!(post, "agora.post.v1");
package!(query, "agora.query.v1");

/// Every proto file of Agora and what they import, with options and comments: an
/// encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// A request that changes something: what every one of them has.
pub trait Mutation: prost::Message {
    /// The method's name, as in the proto.
    const RPC: &'static str;

    /// The site that it is about.
    fn site(&self) -> &str;

    /// Takes out the id that the caller chose for the request; it may be empty.
    fn take_request_id(&mut self) -> String;

    /// Takes out the position that the service must have reached; it may be empty.
    fn take_position(&mut self) -> String;
}

macro_rules! mutation {
    ($request:ty, $rpc:literal) => {
        impl Mutation for $request {
            const RPC: &'static str = $rpc;

            fn site(&self) -> &str {
                &self.site
            }

            fn take_request_id(&mut self) -> String {
                std::mem::take(&mut self.request_id)
            }

            fn take_position(&mut self) -> String {
                std::mem::take(&mut self.position)
            }
        }
    };
}

// One line for every method whose request has a `request_id`, by `build.rs`.
include!(concat!(env!("OUT_DIR"), "/mutations.rs"));
