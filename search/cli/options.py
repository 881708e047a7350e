"""The options of `python -m search.run`, and what they say of the space and of its prices."""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from search.common.errors import UserError

if TYPE_CHECKING:
    from stockrnn.prices.loading import Access

__all__ = ["OUTPUT", "OptionError", "access", "niceness", "overrides", "parser", "resuming", "seconds"]

OUTPUT = "results"
DOWNLOAD_LIMIT = 60.0  # seconds
EXAMPLES = """\
examples:
  python -m search.run spaces/smoke.yaml
      a study of a few trials on the shipped Nasdaq series, in under a minute
  python -m search.run spaces/all.yaml --set data.source=prices.csv --name mine
      the whole space on your own prices (Yahoo's columns; dates YYYY-MM-DD)
  python -m search.run spaces/lstm.yaml --num-samples 100 --time-budget 30m
      more trials, but no longer than half an hour
  python -m search.run spaces/gru.yaml --set space.hidden_size=8 --dry-run
      fix one parameter; check everything, run nothing
  python -m search.run spaces/all.yaml --ticker ^KS11
      a market by its Yahoo ticker
  python -m search.run --resume results/all --num-samples 80
      go on with a study that was broken off, or has ended, to 80 trials in all

exit codes: 0 done, 1 no trial finished or the study could not go on, 2 wrong input, 130 interrupted
"""


class OptionError(UserError):
    """A wrong option, in one line."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m search.run",
        description="Search a space of recurrent networks for those that forecast a market best, "
        "and say whether any beats 'tomorrow equals today'.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("space", nargs="?", metavar="SPACE.yaml", help="the space file")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="lay a value over the file's; dotted, repeatable: --set space.hidden_size=8",
    )  # fmt: skip
    made.add_argument("--num-samples", metavar="N", help="trials in all (search.num_samples)")
    made.add_argument("--time-budget", metavar="TIME", 
        help="end the search this long after its first trial has started: 90s, 10m, 2h",
    )  # fmt: skip
    made.add_argument("--max-concurrent", metavar="N", help="trials side by side, at most")
    made.add_argument(
        "--gpus-per-trial", metavar="SHARE", help="of one GPU: 0 to 1, or auto (resources.gpu); some may ask for more"
    )
    made.add_argument(
        "--output",
        default=OUTPUT,
        metavar="DIR",
        help="where studies are kept, a folder or a URL such as s3://bucket/results (default: results)",
    )
    made.add_argument("--resume", metavar="FOLDER", help="go on with a study that ended or was broken off")
    made.add_argument(
        "--force", action="store_true", help="with --resume: even where space, prices or versions have changed"
    )
    made.add_argument(
        "--reopen-test", action="store_true", help="with --resume: open the test block once more, for today's finalists"
    )
    made.add_argument("--ticker", metavar="T", help="a Yahoo ticker, as in ^KS11 (data.source: yahoo, data.ticker)")
    made.add_argument("--cache", metavar="DIR", help="where downloads are kept (default: the user's cache folder)")
    made.add_argument("--offline", action="store_true", help="only what the cache holds")
    made.add_argument("--refresh", action="store_true", help="download anew, whatever the cache holds")
    made.add_argument(
        "--download-limit", metavar="TIME", help="give a download up after this long, with all its repetitions (60s)"
    )
    made.add_argument("--name", help="the study's name, and its folder's")
    made.add_argument("--seed", metavar="N", help="the study's seed")
    made.add_argument(
        "--track", action="append", default=[], metavar="TRACKER", dest="trackers",
        help="tell a tracker of every trial (tracking): mlflow=URI, tensorboard or wandb; repeatable",
    )  # fmt: skip
    made.add_argument("--address", help="a Ray cluster to run on, such as auto; default: this machine")
    made.add_argument(
        "--insecure", action="store_true", help="with --address: even one that asks for no token and others can reach"
    )
    made.add_argument(
        "--niceness", metavar="N",
        help="of the processes that train on this machine: 0 (like others) to 19 (after all others); default: 5",
    )  # fmt: skip
    made.add_argument("--dry-run", action="store_true", help="check everything, show the plan, run nothing")
    made.add_argument("--json-schema", action="store_true", help="print the JSON Schema of space files")
    made.add_argument("--quiet", action="store_true", help="no progress, the result only")
    return made


def access(options: argparse.Namespace) -> "Access":
    """How prices are come by.

    Raises:
        OptionError: options that exclude each other, or a wrong time.
    """
    from stockrnn.prices.loading import Access

    if options.offline and options.refresh:
        raise OptionError("--offline: stands beside --refresh; one asks for no download, the other for one; drop one")
    cache = None if options.cache is None else Path(options.cache)
    limit = seconds(options.download_limit, "--download-limit")
    return Access(cache=cache, offline=options.offline, refresh=options.refresh, time_limit=limit or DOWNLOAD_LIMIT)


def niceness(options: argparse.Namespace) -> int:
    """The niceness of the workers of a Ray of our own.

    Raises:
        OptionError: it is none, or there is no Ray of our own.
    """
    from search.space.resources import NICENESS

    if options.niceness is None:
        return NICENESS
    if not re.fullmatch(r"1?[0-9]", options.niceness):
        raise OptionError(f"--niceness {options.niceness}: is no niceness; it is a whole number from 0 to 19; write 5")
    if options.address not in (None, "local"):
        raise OptionError("--niceness: conflicts with --address; a cluster sets its own; remove it")
    return int(options.niceness)


def resuming(options: argparse.Namespace, place: str) -> argparse.Namespace:
    """The options with which the study at a place goes on that was begun with options."""
    resumed = parser().parse_args(["--resume", place])
    for name in ("max_concurrent", "address", "insecure", "niceness", "quiet", "restart", "environment"):
        setattr(resumed, name, getattr(options, name))
    return resumed


def overrides(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """(dotted key, YAML text, the option as typed) of every option that sets a key of the space.

    Raises:
        OptionError: an option that names no key or no value.
    """
    from search.common.credentials import strip_credentials

    laid = []
    for setting in options.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise OptionError(f"--set {setting}: has no '='; write --set KEY=VALUE, as in --set seed=1")
        laid.append((name.strip(), value, f"--set {strip_credentials(setting)}"))
    for track in options.trackers:
        name, equals, value = track.partition("=")
        if name == "mlflow" and not value:
            raise OptionError(f"--track {track}: names no address; write --track mlflow=sqlite:///mlflow.db, say")
        laid.append(
            (f"tracking.{name}", json.dumps(value) if equals else "true", f"--track {strip_credentials(track)}")
        )
    if options.ticker is not None:
        laid.append(("data.source", "yahoo", f"--ticker {options.ticker}"))
        laid.append(("data.tickers", "[]", f"--ticker {options.ticker}"))
        laid.append(("data.ticker", json.dumps(options.ticker), f"--ticker {options.ticker}"))
    for name, key in (
        ("num_samples", "search.num_samples"), ("name", "name"), ("seed", "seed"), ("gpus_per_trial", "resources.gpu"),
    ):  # fmt: skip
        if (value := getattr(options, name)) is not None:
            text = json.dumps(value) if name == "name" else value  # a name such as 2024 stays text
            laid.append((key, text, f"--{name.replace('_', '-')} {value}"))
    return laid


def seconds(text: str | None, option: str) -> float | None:
    """A length of time, as in 90s or 2h.

    Raises:
        OptionError: it is none.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if not match or not float(match[1]):
        raise OptionError(f"{option} {text}: is no time; write a number with s, m, h or d, as in 90s, 10m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
