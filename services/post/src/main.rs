//! The post service as a program of its own.

use std::process::ExitCode;

use agora_post::{Config, start};

#[tokio::main]
async fn main() -> ExitCode {
    chassis::program::run(Config::default(), Config::host, "post", start).await
}
