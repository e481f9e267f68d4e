//! Compiles `proto/` in pure Rust: no protoc is needed.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;

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
    let descriptors = FileDescriptorSet::decode(compiler.encode_file_descriptor_set().as_slice())?;
    fs::write(out.join("mutations.rs"), mutations(&descriptors)?)?;

    tonic_prost_build::configure()
        // Events are decoded by the million: their bytes stay slices of the message.
        .bytes(".agora.event.v1")
        .bytes(".agora.admin.v1.JournalRow")
        .compile_fds(descriptors)?;
    Ok(())
}

/// What makes `agora_proto::Mutation` of every request that has a `request_id`.
fn mutations(descriptors: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for file in &descriptors.file {
        let module = file.package().trim_start_matches("agora.").replace('.', "::");
        for method in file.service.iter().flat_map(|service| &service.method) {
            let name = method.input_type().rsplit('.').next().unwrap_or_default();
            let request = file.message_type.iter().find(|message| message.name() == name);
            let fields = request.map_or(&[][..], |request| &request.field);
            if fields.iter().any(|field| field.name() == "request_id") {
                writeln!(code, "mutation!({module}::{name}, {:?});", method.name())?;
            }
        }
    }
    Ok(code)
}
