# Runs all checks of CI.
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    cargo test --locked

# Tests training under mpirun, with fifty killed ranks (docs/design/cluster.md names the packages).
mpi:
    cargo test --locked --features mpi --test commands mpi:: -- --include-ignored

# Runs all tests but the slow ones, whose names begin with `slow_`.
quick:
    cargo test --locked -- --skip slow_

# Runs the property tests on twenty times as many random cases as `check`, new ones each time.
fuzz factor="20":
    NPLUS1_FUZZ={{factor}} cargo test --locked --test library -- bad_data:: config_errors:: \
        difference_agreement:: gradient_check:: safetensors::

# Fuzzes every reader by coverage: so many seconds of processor time each (docs/hostile-files.md).
fuzz-long seconds="3600":
    fuzz/run {{seconds}}

# Adds the inputs that fuzzing found, and that reach new code, to tests/corpus.
fuzz-merge:
    fuzz/run merge

# Prints the smallest relative errors that the gradient check sees, by method, on five networks.
check-power:
    cargo test --locked --test library the_table_of_power -- --nocapture

# Checks standard functions as `check` does, and functions of 10,000 parameters (minutes).
verdicts:
    cargo test --locked --test library standard_functions:: -- --include-ignored --nocapture

# Compares checks and gradients of Python functions with scipy, numdifftools and PyTorch, which `python` has.
programs-peers python="python3":
    cargo build --release
    {{python}} benches/programs_peers.py target/release/nplus1

# Measures an epoch of the eight networks and mini-batches.
bench:
    cargo bench --bench epoch

# Measures σ and matrix products with every instruction set.
bench-kernels:
    cargo bench --bench kernels

# Measures one gradient by every method.
bench-gradient:
    cargo bench --bench gradient

# Measures a superstep and a run, compared with rayon's `broadcast`, `scope` and `join`.
bench-forkjoin:
    cargo bench --bench forkjoin

# Races training against JAX, PyTorch, NumPy, scipy and scikit-learn.
peers:
    benches/peers/run

# Races finite-difference gradients against JAX, PyTorch, scipy and NumPy.
peers-differences:
    benches/peers/differences

# Tests the tables and options of both races, without peers.
peers-test:
    python3 -m unittest discover benches/peers

# Trains every config with a known result and writes docs/results.md.
results:
    cargo bench --bench results

# Kills training, studies and programs at random times and resumes them; interrupts long steps.
kills:
    cargo build --release
    tests/reliability/random-kills
    tests/reliability/program-kills
    tests/reliability/interrupt-latency

# Measures the workers of a program's function, and the cost of an evaluation beside it.
bench-programs:
    cargo build --release
    python3 benches/programs.py target/release/nplus1

# Exports models in every format and compares what other programs answer.
interop:
    tests/interop/run

# Runs every program of tests/reliability, a promise each: those too long for CI (at most 90 minutes).
reliability:
    tests/reliability/run

# Runs every command of docs/answer.md (about ten minutes).
answer:
    cargo build --release
    target/release/nplus1 cost configs/mnist-30.toml --measure
    target/release/nplus1 cost configs/mnist-30.toml --measure --set 'data.normalize="standard"'
    target/release/nplus1 cost configs/mnist-30.toml --measure --dense
    target/release/nplus1 cost configs/breast-cancer.toml --measure
    target/release/nplus1 cost configs/mnist-30.toml --widths 16,32,64,128,256,512,1024 --depths 2 --methods forward-difference/incremental
    target/release/nplus1 cost configs/mnist-30.toml --scale-all 0.5,1,2,4 --depths 2 --methods forward-difference
    target/release/nplus1 cost configs/mnist-30.toml --widths 512 --depths 2,3,5 --batch 10 --methods backprop --measure
    target/release/nplus1 check configs/mnist-30.toml --weights tests/reference/mnist-30.safetensors --rows 10 --sweep
    target/release/nplus1 scale configs/mnist-30.toml --threads 1,2
    target/release/nplus1 train configs/mnist-differences.toml
    target/release/nplus1 explain lbfgs
    target/release/nplus1 race configs/mnist-30.toml
    target/release/nplus1 explain
