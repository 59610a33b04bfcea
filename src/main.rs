//! The `nplus1` program: calls the command line and returns its exit code.

mod out_of_memory;

#[global_allocator]
static ALLOCATOR: out_of_memory::WatchedAllocator = out_of_memory::WatchedAllocator;

fn main() -> std::process::ExitCode {
    out_of_memory::end_in_order();
    nplus1::cli::main()
}
