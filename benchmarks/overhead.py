"""Measure the overhead of a trial: forty trials of the smallest network, one epoch each, on warm workers.

python -m benchmarks.overhead
"""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import datetime
from pathlib import Path


def main() -> None:
    """Run the study and print the overhead."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "search.run", "benchmarks/overhead.yaml", "--quiet", "--output", output]
        subprocess.run(command, check=True, capture_output=True)
        text = (Path(output) / "overhead" / "trials.jsonl").read_text(encoding="utf-8")
    ends = [line for line in map(json.loads, text.splitlines()) if line["event"] == "end"]
    by_worker = defaultdict(list)
    for end in ends:
        by_worker[end["worker"]].append((datetime.fromisoformat(end["time"]).timestamp(), end["seconds"]))
    costs = [
        later - earlier - seconds
        for trials in by_worker.values()
        for (earlier, _), (later, seconds) in itertools.pairwise(trials)
    ]
    print(f"{len(ends)} trials on {len(by_worker)} workers; from one trial's end to the next one's, less its training:")
    print(f"median {1000 * statistics.median(costs):.0f} ms, mean {1000 * statistics.mean(costs):.0f} ms, "
          f"largest {1000 * max(costs):.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
