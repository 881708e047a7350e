"""Measure training epochs of random shapes, and fit the constants of the cost model.

    python -m benchmarks.cost_model --write [--rounds 3] [--points 200] [--others 260] [--times build/cost_model.json]
    python -m benchmarks.cost_model --rounds 0        # fit again, without another measurement

The shapes: as many points as `--points` says from the space of `spaces/all.yaml`, with the whole series, and `--others`
with other sizes, numbers of members and features, for the forms that the first ones rarely or never have (one network
after another, cells without a layer of their own). A round measures each shape once; the shortest time of all rounds
counts. It is the CPU time of one thread, because other programs change it least.

The file of `--times` collects the rounds, also those of several runs. The program prints how well the constants predict
shapes that they were not fitted to, and then fits them to all shapes. `--write` writes them to `search/cost`.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from random import Random

import numpy as np
import torch
from scipy.optimize import least_squares, nnls

from search.cost.estimate import sample_point
from search.cost.workload import SECONDS_FILE, Workload, epoch_workload, training_sizes
from search.results.manifest import read_processor
from search.space.space import Space, load_space
from stockrnn.dataset.alignment import prepare
from stockrnn.dataset.config import WindowConfig
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.networks import batched_cells
from stockrnn.networks import network as single_network
from stockrnn.networks.cells import ARCHITECTURES
from stockrnn.networks.config import NetworkConfig
from stockrnn.networks.execution import choose_mode
from stockrnn.networks.heads import HEADS
from stockrnn.prices.series import Prices
from stockrnn.training.config import TrainingConfig
from stockrnn.training.trainer import Trainer

SPACE = "spaces/all.yaml"
COLUMNS = ("open", "high", "low", "close", "volume")
HORIZON = 1
MAX_OTHER_PRODUCTS = 3e9  # multiply-adds of an epoch; larger shapes of the second kind are left out
MAX_OTHER_STEPS = 4e3  # time steps of all layers and passes
ROUND_SECONDS, ROUND_EPOCHS = 0.4, 4  # a round trains a shape so long, or so many epochs
HELD_OUT = 0.5  # share of the points of the space that the printed constants are not fitted to


@dataclass(kw_only=True)
class Shape:
    """What an epoch's seconds depend on, and the seconds of each round."""

    kind: str
    window: dict
    network: dict
    training: dict
    mode: str
    unrolled: bool
    train: list[int]
    days: int
    seeds: int
    times: list[float] = field(default_factory=list)

    def configurations(self) -> tuple[WindowConfig, NetworkConfig, TrainingConfig]:
        """Return the configurations of a trial."""
        window = {name: tuple(value) if isinstance(value, list) else value for name, value in self.window.items()}
        return WindowConfig(**window), NetworkConfig(**self.network), TrainingConfig(**self.training)

    def workload(self) -> Workload:
        """Return the counts of an epoch."""
        work = epoch_workload(*self.configurations(), self.train, self.days, self.seeds, HORIZON, self.mode)
        return Workload(form=f"unrolled {self.mode}", counts=work.counts) if self.unrolled else work

    def folds(self) -> tuple[Fold, ...]:
        """Return folds of these sizes: training parts of one size slide along the series, others begin with it."""
        slides = len(set(self.train)) == 1
        starts = [index * self.days if slides else 0 for index in range(len(self.train))]
        ends = [start + size for start, size in zip(starts, self.train, strict=True)]
        return tuple(
            Fold(train=range(start, end), validation=range(end, end + self.days))
            for start, end in zip(starts, ends, strict=True)
        )


def points_of(space: Space, prices: Prices, count: int) -> Iterator[Shape]:
    """Yield random points of the space with all its members and sessions."""
    sizes, random = training_sizes(space, space.split(prices)), Random(0)
    for _ in range(count):
        window, network, training = space.configurations(sample_point(space, random))
        members = space.validation.folds * space.validation.seeds
        yield Shape(
            kind="space", window=window.model_dump(), network=network.model_dump(), training=training.model_dump(),
            mode=choose_mode(network, window.sequence_length, training.batch_size, members), unrolled=False,
            train=list(sizes.folds), days=space.validation.fold_size, seeds=space.validation.seeds,
        )  # fmt: skip


def others(count: int) -> Iterator[Shape]:
    """Yield shapes of all forms, with other sizes than those of the space."""
    random = Random(1)

    def between(low: float, high: float) -> int:
        return round(math.exp(random.uniform(math.log(low), math.log(high))))

    found = 0
    while found < count:
        features = random.choice([("close",), COLUMNS[:3], COLUMNS])
        window = WindowConfig(features=features, sequence_length=between(2, 100), scaling="minmax")
        network = NetworkConfig(
            architecture=list(ARCHITECTURES)[found % len(ARCHITECTURES)], head=random.choice(list(HEADS)),
            hidden_size=between(3, 128), num_layers=random.choice([1, 1, 2, 3, 4]), dropout=random.choice([0.0, 0.2]),
            bidirectional=random.random() < 0.15,
        )  # fmt: skip
        training = TrainingConfig(batch_size=random.choice([16, 32, 64, 128, 256]))
        shape = Shape(
            kind="other", window=window.model_dump(), network=network.model_dump(), training=training.model_dump(),
            mode=random.choice(["batched", "looped"]), unrolled=found % 3 == 2,
            train=[between(200, 2500)] * random.choice([1, 2, 3, 5]), days=random.choice([50, 100, 250]),
            seeds=random.choice([1, 1, 2, 3, 5]),
        )  # fmt: skip
        counts = shape.workload().counts
        if counts["products"] <= MAX_OTHER_PRODUCTS and counts["recurrent"] <= MAX_OTHER_STEPS:
            found += 1
            yield shape


@contextmanager
def unrolled_layers(unrolled: bool) -> Iterator[None]:
    """Compute all cells by their step equations within the block, as those of plug-ins."""
    tables = (batched_cells.CELLS, single_network.TORCH_LAYERS)
    entries = [dict(table) for table in tables]
    try:
        for table in tables if unrolled else ():
            table.clear()
        yield
    finally:
        for table, saved in zip(tables, entries, strict=True):
            table.update(saved)


def measure(shape: Shape, prices: Prices) -> float:
    """Return the shortest CPU time of an epoch of a new training."""
    window, network, training = shape.configurations()
    best, total, epochs = math.inf, 0.0, 0
    with unrolled_layers(shape.unrolled):
        windows = Windows(prices, shape.folds(), window, HORIZON)
        trainer = Trainer(windows, network, training, seeds=shape.seeds, mode=shape.mode)
        while total < ROUND_SECONDS and epochs < ROUND_EPOCHS:
            began = time.thread_time()
            trainer.train_epoch()
            took = time.thread_time() - began
            best, total, epochs = min(best, took), total + took, epochs + 1
    return best


def fit(shapes: list[Shape]) -> dict[str, dict[str, float]]:
    """Return the constants of every form: non-negative least squares, then least squares of the logarithms."""
    forms: dict[str, list[Shape]] = {}
    for shape in shapes:
        forms.setdefault(shape.workload().form, []).append(shape)
    constants = {}
    for form, own in sorted(forms.items()):
        names = [name for name in own[0].workload().counts if name != "gates" or form.startswith("unrolled")]
        counts = np.array([[shape.workload().counts[name] for name in names] for shape in own], dtype=float)
        times = np.array([min(shape.times) for shape in own])
        start, _ = nnls(counts / times[:, None], np.ones(len(own)))
        used = counts[:, start > 0]
        logs = np.log(start[start > 0])
        better = least_squares(
            lambda values, used=used, times=times: np.log(used @ np.exp(values)) - np.log(times), logs,
            loss="soft_l1", f_scale=0.2,
        )  # fmt: skip
        found = dict(zip(np.array(names)[start > 0], np.exp(better.x), strict=True))
        # Three digits are more than the data determine; constants that nothing needs are left out.
        constants[form] = {str(name): float(f"{value:.2e}") for name, value in found.items() if value > 1e-15}
    return constants


def errors(shapes: list[Shape], constants: dict[str, dict[str, float]]) -> np.ndarray:
    """Return log(measured / predicted) of each shape."""
    predicted = [
        sum(seconds * work.counts[name] for name, seconds in constants[work.form].items())
        for work in (shape.workload() for shape in shapes)
    ]
    return np.log([min(shape.times) for shape in shapes]) - np.log(predicted)


def show(title: str, found: np.ndarray) -> None:
    """Print how well shapes are predicted."""
    low, high = np.exp(np.quantile(found, [0.1, 0.9]))
    print(f"{title}: {len(found)} shapes, sd of log(measured / predicted) {found.std():.3f}, mean {found.mean():+.3f}; "
          f"eight of ten take {low:.2f} to {high:.2f} times what is predicted")  # fmt: skip


def main() -> None:
    """Measure the shapes, fit the constants, print their errors, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200, help=f"points of {SPACE}")
    parser.add_argument("--others", type=int, default=260, help="other shapes")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each shape")
    parser.add_argument("--times", type=Path, default=Path("build/cost_model.json"), help="collects the measurements")
    parser.add_argument("--write", action="store_true", help=f"write the constants to {SECONDS_FILE.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = load_space(SPACE)
    prices = prepare(space.data)
    if options.times.exists():
        shapes = [Shape(**entry) for entry in json.loads(options.times.read_text())]
    else:
        shapes = [*points_of(space, prices, options.points), *others(options.others)]
    for number in range(options.rounds):
        for shape in shapes:
            shape.times.append(measure(shape, prices))
        options.times.parent.mkdir(parents=True, exist_ok=True)
        options.times.write_text(json.dumps([asdict(shape) for shape in shapes]))
        print(f"round {number + 1}", flush=True)

    points = [shape for shape in shapes if shape.kind == "space"]
    rest = [shape for shape in shapes if shape.kind != "space"]
    before = [math.log(min(shape.times) / shape.workload().seconds) for shape in points]
    show("with the present constants: points of the space", np.array(before))
    kept = Random(2).sample(range(len(points)), round(len(points) * (1 - HELD_OUT)))
    fitted = fit([*(points[index] for index in kept), *rest])
    show("points of the space, held out", errors([points[i] for i in range(len(points)) if i not in kept], fitted))
    constants = fit(shapes)
    show("fitted to all: points of the space", errors(points, constants))
    show("fitted to all: other shapes", errors(rest, constants))
    for form in constants:
        show(f"  {form}", errors([shape for shape in shapes if shape.workload().form == form], constants))
    if options.write:
        measured = f"{date.today()}, {read_processor()}, torch {torch.__version__}, one thread"
        SECONDS_FILE.write_text(json.dumps({"measured": measured, "seconds": constants}, indent=2) + "\n")


if __name__ == "__main__":
    main()
