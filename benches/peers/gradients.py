"""The race of gradients: its network, mini-batches, peers and targets. Standard library only."""

from dataclasses import dataclass

SIZES = (784, 30, 10)
PARAMETERS = sum(fan_out * (fan_in + 1) for fan_in, fan_out in zip(SIZES, SIZES[1:]))
BATCHES = (10, 128)

# Generic peers, which differentiate any function by N + 1 evaluations.
GENERIC = {
    "jax-map": "gradient_jax.py",
    "jax-vmap": "gradient_jax.py",
    "torch-vmap": "gradient_torch.py",
    "scipy": "gradient_scipy.py",
    "numpy-loop": "gradient_numpy.py",
}
# Incremental evaluation in NumPy, straightforward and tuned.
INCREMENTAL, SHARED = "numpy-incremental", "numpy-incremental-shared"
PYTHON = GENERIC | dict.fromkeys([INCREMENTAL, SHARED], "gradient_numpy.py")


@dataclass(frozen=True)
class Method:
    """A gradient method of nplus1: its settings, and the number of steps to time (None: whole epochs)."""

    settings: dict[str, str]
    steps: dict[int, int] | None = None


def difference(evaluation, arithmetic):
    return {
        "gradient.method": "forward-difference",
        "gradient.evaluation": evaluation,
        "gradient.arithmetic": arithmetic,
    }


NPLUS1 = {
    "nplus1-full": Method(difference("full", "plain"), {10: 10, 128: 2}),
    "nplus1-incremental": Method(difference("incremental", "plain")),
    "nplus1-cancellation-free": Method(difference("incremental", "cancellation-free")),
    "nplus1-backprop": Method({"gradient.method": "backprop"}),
}
PEERS = [*NPLUS1, *PYTHON]

# Training by differences, compared with JAX's backprop: the settings that nplus1 adds to
# configs/mnist-differences.toml.
EPOCHS = {
    "jax": None,
    "nplus1-cancellation-free": NPLUS1["nplus1-cancellation-free"].settings,
    "nplus1-incremental": NPLUS1["nplus1-incremental"].settings,
}


@dataclass(frozen=True)
class Target:
    """The least speedup of `method` over `rival`, a name or "generic" for the best generic peer.

    Without `least` the ratio is reported without a target.
    """

    method: str
    rival: str
    batch: int
    least: float | None
    threads: int | None = None  # only at this number; None: at every number of the race


SPEED = (
    Target("nplus1-full", "generic", 10, 3.0, threads=1),
    Target("nplus1-full", "generic", 128, 1.6, threads=1),
    Target("nplus1-incremental", "generic", 10, 3_000),
    Target("nplus1-cancellation-free", "generic", 10, 6_000),
    Target("nplus1-incremental", INCREMENTAL, 10, 100),
    Target("nplus1-cancellation-free", INCREMENTAL, 10, 150),
    Target("nplus1-incremental", SHARED, 10, None),
    Target("nplus1-cancellation-free", SHARED, 10, None),
)
# Least value of seconds at 1 thread ÷ (2 × seconds at 2 threads), at batch 128.
EFFICIENCY = {"nplus1-full": 0.85, "nplus1-incremental": 0.85}
# Largest value of an epoch by differences ÷ an epoch by JAX's backprop, at 2 threads.
EPOCH = {"nplus1-cancellation-free": 1.5, "nplus1-incremental": 3.0}


def estimate(peers, batches, threads, rounds, seconds):
    """Estimates the seconds of a race on two idle Zen 4 cores, from the times of its processes there."""
    startup = {"gradient_jax.py": 5.0, "gradient_torch.py": 5.0}
    gradient = {10: 0.6, 128: 3.5}
    total = 0.0
    for peer in peers:
        for batch in batches:
            if peer in NPLUS1:
                total += 3.5
            else:
                total += startup.get(PYTHON[peer], 1.5) + max(seconds, gradient.get(batch, batch / 30))
    return (total + 12.0) * len(threads) * rounds
