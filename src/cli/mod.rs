//! The command line: one file a command.

pub mod config;
pub mod data;

/// Parses the arguments, runs the command, prints the error chain.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
