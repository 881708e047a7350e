"""Times the study against the plain loop and docs-style Ray Tune, whole processes, in turn; prints ratios.

python -m benchmarks.compare [--rounds 5] [--without-tune]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time


def seconds(command: list[str]) -> float:
    """Wall time of a command that must succeed."""
    began = time.perf_counter()
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return time.perf_counter() - began


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-tune", action="store_true", help="leave out docs-style Ray Tune, the slowest")
    options = parser.parse_args()
    times: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            commands = {
                "this project": [
                    sys.executable,
                    "-m",
                    "search.run",
                    "benchmarks/twenty.yaml",
                    "--quiet",
                    "--output",
                    folder,
                ],
                "plain Optuna loop": [sys.executable, "-m", "benchmarks.plain_loop"],
                "docs-style Ray Tune": [sys.executable, "-m", "benchmarks.docs_style_tune"],
            }
            if options.without_tune:
                del commands["docs-style Ray Tune"]
            for name, command in commands.items():
                times.setdefault(name, []).append(seconds(command))
                print(f"{name}: {times[name][-1]:.1f} s", file=sys.stderr, flush=True)
    ours = times["this project"]
    print(f"{'':22}{'median':>8}{'min':>8}{'max':>8}   ratio to this project, round by round")
    for name, measured in times.items():
        ratios = [other / own for other, own in zip(measured, ours, strict=True)]
        print(
            f"{name:22}{statistics.median(measured):8.1f}{min(measured):8.1f}{max(measured):8.1f}"
            f"   {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
