# All that CI does.
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    cargo test --locked

# The properties on twenty times as many cases as `check`, of another draw each time.
fuzz factor="20":
    NPLUS1_FUZZ={{factor}} cargo test --locked --test bad_data --test config_errors \
        --test difference_agreement --test gradient_check --test safetensors

# Seconds an epoch of the five reference networks.
bench:
    cargo bench --bench epoch

# σ with every kernel, and the products of the networks that are trained.
bench-kernels:
    cargo bench --bench kernels

# One gradient by every method.
bench-gradient:
    cargo bench --bench gradient

# What a superstep and a run cost, beside rayon's own ways to share work.
bench-forkjoin:
    cargo bench --bench forkjoin

# The same work against JAX, PyTorch, NumPy, scipy and scikit-learn, in one run.
peers:
    benches/peers/run

# Gradients by finite differences against JAX, PyTorch, scipy and NumPy, in one run.
peers-differences:
    benches/peers/differences

# The tables of both, tested without any peer.
peers-test:
    python3 -m unittest discover benches/peers

# Every known result against ours, into docs/results.md.
results:
    cargo bench --bench results
