//! The program `agora-next`: `agora` as its next version could be, for the tests of upgrades.

use std::process::ExitCode;

fn main() -> ExitCode {
    agora::main()
}
