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
