# All that CI does.
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    cargo test --locked

# The published results, seed by seed (README's table); about 20 minutes on 2 cores.
results:
    benches/results

# Seconds an epoch of the five reference networks.
bench:
    cargo bench --bench epoch

# The same work against JAX, PyTorch and NumPy, in one run.
peers:
    benches/peers/run
