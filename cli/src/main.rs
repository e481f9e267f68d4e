//! The program `agora`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agora::main()
}
