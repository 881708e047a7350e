"""Compare the run time of a study with programs that users would write instead, and update docs/benchmarks.md.

python -m benchmarks [--rounds 3] [--without NAME]

Only the text between `<!-- NAME -->` and `<!-- end NAME -->` changes. Each program uses one thread per process.
NeuralForecast is an extra: pip install -c constraints.txt -e '.[benchmarks]'
"""

import argparse
import ast
import datetime
import importlib.metadata
import importlib.util
import inspect
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.task import BLOCK, SPACE, Size, table
from benchmarks.tutorial import best, rewritten
from search.results.reader import read_study
from stockrnn.evaluation.metrics import theils_u

PAGE = Path("docs/benchmarks.md")
ONE, NINE = Size(), Size(folds=3, seeds=3)
OURS, LOOP, TUNE, NEURAL = "this project", "plain Optuna loop", "docs-style Ray Tune", "NeuralForecast"


@dataclass(frozen=True)
class Way:
    """A program that does the work, the code in `benchmarks` that its user would write, and how to read its U."""

    module: str
    written: dict[str, Sequence[str]]  # file -> names of its functions and classes; none: the whole file
    arguments: Callable[[Size, Path], list[str]] = lambda size, folder: size.words()
    test_u: Callable[[str, Path], float] = lambda printed, folder: price_u(json.loads(printed.splitlines()[-1]))


@dataclass
class Measured:
    """Results of all rounds of one program."""

    seconds: list[float] = field(default_factory=list)
    u: float = float("nan")


def our_arguments(size: Size, folder: Path) -> list[str]:
    settings = ("--set", f"validation.folds={size.folds}", "--set", f"validation.seeds={size.seeds}")
    return [str(SPACE), "--quiet", "--output", str(folder), *settings]


def our_u(printed: str, folder: Path) -> float:
    return best(read_study(folder / SPACE.stem))["test_relative_loss"]


def price_u(returns: Sequence[float]) -> float:
    """Return Theil's U on the prices of the test set, from forecast log returns in percent."""
    close = table()["close"].to_numpy()[-BLOCK - 1 :]
    return theils_u(close[:-1] * np.exp(np.array(returns) / 100), close[1:], close[:-1])


SHARED = {"task.py": ("table", "split")}
WAYS = {
    OURS: Way("search.run", {"twenty.yaml": ()}, our_arguments, our_u),
    LOOP: Way("benchmarks.plain_loop", {"plain_loop.py": (), **SHARED}),
    TUNE: Way(
        "benchmarks.docs_style_tune",
        {
            "docs_style_tune.py": (),
            "plain_loop.py": ("Forecaster", "epochs_of", "losses_of", "unseen_forecasts"),
            **SHARED,
        },
    ),
    NEURAL: Way("benchmarks.neural_forecast", {"neural_forecast.py": (), "task.py": ("table",)}, lambda *_: []),
}


def lines(file: str, names: Sequence[str]) -> int:
    """Count the lines of a file or of some functions, without blanks, comments, docstrings and the list of points."""
    source = Path(__file__).with_name(file).read_text(encoding="utf-8")
    rows = source.splitlines()
    kept = set(range(1, len(rows) + 1))
    if file.endswith(".py"):
        tree = ast.parse(source)
        if names:
            parts = [node for node in tree.body if getattr(node, "name", None) in names]
            kept = {row for node in parts for row in range(node.lineno, node.end_lineno + 1)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                kept -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(rows[row - 1].strip()) and not rows[row - 1].lstrip().startswith(("#", "- {", "initial:")) for row in kept
    )


def run(way: Way, size: Size) -> tuple[float, float]:
    """Run a program, exit if it fails, and return its wall time in seconds and Theil's U on the test set."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", way.module, *way.arguments(size, Path(folder))]
        began = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
        return seconds, way.test_u(done.stdout, Path(folder))


def compare(names: Sequence[str], size: Size, rounds: int) -> str:
    """Run the programs in turn, round by round, and return a Markdown table."""
    measured = {name: Measured() for name in names}
    for _ in range(rounds):
        for name, one in measured.items():
            seconds, one.u = run(WAYS[name], size)
            one.seconds.append(seconds)
            print(f"{name}, {size.folds} x {size.seeds}: {seconds:.1f} s, U {one.u:.4f}", file=sys.stderr, flush=True)
    rows = [
        "| | median, s | minimum, maximum, s | time relative to this project, by round | test Theil's U | lines |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in measured.items():
        ratios = [other / own for other, own in zip(one.seconds, measured[OURS].seconds, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if name != OURS else ""
        written = sum(lines(file, parts) for file, parts in WAYS[name].written.items())
        middle, least, most = statistics.median(one.seconds), min(one.seconds), max(one.seconds)
        rows.append(f"| {name} | {middle:.1f} | {least:.1f}, {most:.1f} | {ratio} | {one.u:.4f} | {written} |")
    return "\n".join(rows)


def conditions(rounds: int) -> str:
    """Return the command, date, machine and versions."""
    packages = ("torch", "ray", "optuna", "neuralforecast")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages if _installed(name))
    return (
        f"`python -m benchmarks --rounds {rounds}`, {datetime.date.today()}; {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}."
    )


def main() -> None:
    """Run the comparisons and update the page."""
    text = inspect.cleandoc(__doc__)
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the comparison with one fold and one seed")
    parser.add_argument(
        "--without", action="append", default=[], choices=[LOOP, TUNE, NEURAL], help="leave out a program"
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    names = [name for name in WAYS if name not in options.without]
    if NEURAL in names and not _installed("neuralforecast"):
        parser.error(
            f"{NEURAL} is not installed; pip install -c constraints.txt -e '.[benchmarks]', or --without {NEURAL}"
        )
    blocks = {
        "conditions": conditions(options.rounds),
        "one": compare(names, ONE, options.rounds),
        "nine": compare([name for name in names if name != NEURAL], NINE, 1),
    }
    page = rewritten(options.page.read_text(encoding="utf-8"), blocks)
    options.page.write_text(page, encoding="utf-8")
    print("\n\n".join(blocks.values()), f"\n{options.page}", sep="\n")


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
