//! Parse, dispatch, print the error chain, exit code.

fn main() -> std::process::ExitCode {
    nplus1::cli::main()
}
