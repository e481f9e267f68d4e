//! The comment service as a program of its own.

use std::process::ExitCode;

use agora_comment::{Config, start};

#[tokio::main]
async fn main() -> ExitCode {
    chassis::program::run(Config::default(), Config::host, "comment", start).await
}
