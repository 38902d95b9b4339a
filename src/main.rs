//! The binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    waypost::app::cli::main()
}
