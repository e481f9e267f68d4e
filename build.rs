//! Compiles `proto/` in pure Rust: no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 10] = [
    "agora/admin/v1/dead_letter.proto",
    "agora/admin/v1/journal.proto",
    "agora/admin/v1/stream.proto",
    "agora/admin/v1/view.proto",
    "agora/auth/v1/permission.proto",
    "agora/comment/v1/comment.proto",
    "agora/event/v1/event.proto",
    "agora/moderation/v1/moderation.proto",
    "agora/post/v1/post.proto",
    "agora/query/v1/query.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/agora");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES)?;

    // The encoded set keeps the method options that name permissions; the decoded
    // one, from which code is made, drops them.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let descriptors =
        prost_types::FileDescriptorSet::decode(compiler.encode_file_descriptor_set().as_slice())?;

    tonic_prost_build::configure()
        // Events are decoded by the million: their bytes stay slices of the message.
        .bytes(".agora.event.v1")
        .bytes(".agora.admin.v1.JournalRow")
        .compile_fds(descriptors)?;
    Ok(())
}
