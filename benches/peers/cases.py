"""The cases of the race: five networks on MNIST, each with its targets."""

from dataclasses import dataclass

SAMPLES = 60_000
INPUTS = 784
OUTPUTS = 10


@dataclass(frozen=True)
class Case:
    """A network with its mini-batch size. The learning rate only has to be one at which it trains."""

    letter: str
    hidden: tuple[int, ...]
    batch: int
    learning_rate: float
    epochs: int  # timed epochs per process, after one warm-up epoch
    target: dict[int, float]  # number of threads: best peer's seconds ÷ nplus1's

    @property
    def sizes(self):
        return (INPUTS, *self.hidden, OUTPUTS)

    @property
    def title(self):
        return f"({self.letter}) {'-'.join(map(str, self.sizes))}, batch {self.batch}"


CASES = {
    case.letter: case
    for case in (
        Case("a", (30,), 10, 3.0, 5, {1: 4.0, 2: 5.0}),
        Case("b", (100,), 10, 3.0, 4, {1: 3.0, 2: 4.0}),
        Case("c", (100,), 128, 3.0, 5, {1: 1.7, 2: 1.8}),
        Case("d", (512, 512), 128, 0.5, 2, {1: 1.2, 2: 1.4}),
        Case("e", (1024, 1024), 1024, 0.1, 1, {1: 1.0, 2: 1.0}),
    )
}
