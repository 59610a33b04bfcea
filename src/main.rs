//! The `nplus1` program: calls the command line and returns its exit code.

fn main() -> std::process::ExitCode {
    nplus1::cli::main()
}
