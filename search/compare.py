"""Compare two studies: their best trials, or with `--replay` whether one repeats the other exactly.

python -m search.compare results/all results/again --replay
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from search.common.errors import UserError
from search.common.messages import format_value, one_line
from search.results.event_log import TrialEnd
from search.results.reader import StudyData, read_study
from stockrnn.io.storage import local_copy
from stockrnn.io.terminal import escape_unencodable

__all__ = ["find_difference", "main"]

SAME, DIFFERENT, WRONG_INPUT = 0, 1, 2
NEEDED = ("manifest.json", "space.yaml", "trials.jsonl")
UNSPECIFIC = ("name", "tracking")  # sections of a space that decide no score
INPUTS = ("seed", "versions", "processor", "platform")  # of a manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 if the studies are equal, 1 if not, 2 after wrong input."""
    escape_unencodable()
    parser = argparse.ArgumentParser(
        prog="python -m search.compare", description="Compare the trials of two studies.", allow_abbrev=False
    )
    parser.add_argument("first", metavar="FOLDER", help="a study, as in results/all or s3://bucket/results/all")
    parser.add_argument("second", metavar="FOLDER", help="another one")
    parser.add_argument(
        "--replay", action="store_true", help="compare every trial: identical, or the first difference and its reasons"
    )
    options = parser.parse_args(arguments)
    try:
        with local_copy(options.first, _is_needed) as first, local_copy(options.second, _is_needed) as second:
            studies = read_study(first), read_study(second)
            if not options.replay:
                for place, study in zip((options.first, options.second), studies, strict=True):
                    print(one_line(f"{place}: {_summary(study)}"))
                return SAME
            difference = find_difference(*studies)
    except UserError as error:
        print(one_line(str(error)), file=sys.stderr)
        return WRONG_INPUT
    except OSError as error:
        print(f"{one_line(str(error.filename))}: cannot be read ({error.strerror}); check the path", file=sys.stderr)
        return WRONG_INPUT
    if difference is None:
        print(f"identical: {len(studies[0].log.finished)} trials")
        return SAME
    print(one_line(difference))
    for reason in _list_reasons(studies[0].manifest, studies[1].manifest):
        print(one_line(f"they differ in {reason}"))
    return DIFFERENT


def find_difference(first: StudyData, second: StudyData) -> str | None:
    """Return the first difference between the trials of two studies, in the order in which they ended; None: equal.

    Compared are point, status, epochs and scores of every trial, but no times.
    """
    for number, (one, other) in enumerate(zip_longest(first.log.finished, second.log.finished), start=1):
        if one is None or other is None:
            return f"one study has {number - 1} trials, the other has more"
        if one.trial_id != other.trial_id:
            return f"end {number} is that of trial {one.trial_id} in one study and of {other.trial_id} in the other"
        for what, value, its in _list_facts(one, other):
            if value != its:
                return f"trial {one.trial_id}: {what} is {format_value(value)} and {format_value(its)}"
    return None


def _list_facts(one: TrialEnd, other: TrialEnd) -> list[tuple[str, Any, Any]]:
    facts = [(name, one.point.get(name), other.point.get(name)) for name in dict.fromkeys([*one.point, *other.point])]
    facts += [(name, getattr(one, name), getattr(other, name)) for name in ("status", "epochs", "best_epoch")]
    return facts + [(name, one.scores.get(name), other.scores.get(name)) for name in {**one.scores, **other.scores}]


def _list_reasons(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return which inputs of the studies differ."""
    found = [
        f"{name}: {first.get(name)} and {second.get(name)}" for name in INPUTS if first.get(name) != second.get(name)
    ]
    prices = [(manifest.get("data") or {}).get("sha256") for manifest in (first, second)]
    found += ["prices"] if prices[0] != prices[1] else []
    spaces = [manifest.get("space") or {} for manifest in (first, second)]
    for section in dict.fromkeys([*spaces[0], *spaces[1]]):
        one, other = spaces[0].get(section), spaces[1].get(section)
        if section in (*UNSPECIFIC, "seed") or one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
            found += [f"{section}.{key}: {one.get(key)} and {other.get(key)}" for key in keys]
        else:
            found.append(f"{section}: {one} and {other}")
    return found


def _summary(study: StudyData) -> str:
    ends = study.log.finished
    best = next((row for row in study.rows if row.get("rank") == 1), None)
    named = f"; best: {best['trial_id']}, {study.metric} {best[study.metric]:.4f}" if best else ""
    return f"{len(ends)} trials{named}"


def _is_needed(name: str) -> bool:
    return name in NEEDED


if __name__ == "__main__":
    sys.exit(main())
