//! The command line: one file a command.

pub mod arguments;
pub mod config;
pub mod interrupt;
pub mod listener;
pub mod output;
pub mod progress;
pub mod table;

/// Parses the arguments, runs the command, prints the error chain.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
