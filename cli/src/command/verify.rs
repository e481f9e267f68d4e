//! later
use std::process::ExitCode;
use crate::{arguments::Options, error::Error};
#[derive(Debug, clap::Args)]
pub struct Arguments {}
pub async fn run(_: &Options, _: Arguments) -> Result<ExitCode, Error> { Ok(ExitCode::SUCCESS) }
