"""Parse and check the options of `python -m search.run`."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from search.common.errors import UserError
from search.common.text import LANGUAGES
from stockrnn.prices.request import Access

__all__ = ["OptionError", "RunOptions", "read_options"]

OUTPUT = "results"
NICENESS = 5  # of the training processes; Ray's default, 15, leaves them almost no CPU beside a busy process
DOWNLOAD_LIMIT = 60.0  # seconds
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
EXAMPLES = """\
examples:
  python -m search.run spaces/smoke.yaml
      run a study of a few trials on the included Nasdaq series, in less than a minute
  python -m search.run spaces/all.yaml --set data.source=prices.csv --name mine
      search the whole space on your own prices (columns as in Yahoo's files; dates YYYY-MM-DD)
  python -m search.run spaces/lstm.yaml --num-samples 100 --time-budget 30m
      run more trials, but for half an hour at most
  python -m search.run spaces/gru.yaml --set space.hidden_size=8 --dry-run
      fix one parameter; check everything, run nothing
  python -m search.run spaces/all.yaml --ticker ^KS11
      use a market by its Yahoo ticker
  python -m search.run --resume results/all --num-samples 80
      continue an interrupted or finished study until it has 80 trials

exit codes: 0 done, 1 no trial finished or the study could not continue, 2 wrong input, 130 interrupted
"""


class OptionError(UserError):
    """A wrong option, in one line."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of one call, checked.

    Attributes:
        space: path of the space file; None only with `resume` or `json_schema`.
        overrides: (dotted key, YAML text, the option as typed) of every option that sets a key of the space.
        output: folder or URL that holds the studies.
        resume: folder or URL of the study to continue.
        force: continue although space, prices or versions have changed.
        reopen_test: evaluate the test block again with the current finalists.
        time_budget: seconds, or None.
        address: of a Ray cluster, or None.
        insecure: join a cluster that other machines can reach and that requires no token.
        niceness: of the training processes on this machine, 0 to 19.
        in_process: run the trials in this process, without Ray.
        fit: reduce the sizes of the folds and the test block where a series is too short for them.
        access: how prices are downloaded and cached.
        language: of the report and of the summary in the terminal.
    """

    space: str | None
    overrides: Sequence[tuple[str, str, str]] = ()
    output: str = OUTPUT
    resume: str | None = None
    force: bool = False
    reopen_test: bool = False
    time_budget: float | None = None
    address: str | None = None
    insecure: bool = False
    niceness: int = NICENESS
    in_process: bool = False
    fit: bool = False
    language: str = "en"
    access: Access = field(default_factory=Access)
    dry_run: bool = False
    json_schema: bool = False
    quiet: bool = False

    def continuing(self, place: str) -> "RunOptions":
        """Return the options that continue the study at `place`, which these options have begun."""
        return replace(self, space=None, overrides=(), output=OUTPUT, resume=place, force=False, reopen_test=False)


def read_options(arguments: Sequence[str] | None = None) -> RunOptions:
    """Parse and check the command line.

    Raises:
        OptionError: an option has a wrong value, or two options conflict.
    """
    given = _parser().parse_args(arguments)
    if given.json_schema:
        return RunOptions(space=None, json_schema=True)
    if given.space is None and given.resume is None:
        raise OptionError("python -m search.run: a space file is missing; name one, for example spaces/smoke.yaml")
    _check_conflicts(given)
    niceness = NICENESS if given.niceness is None else given.niceness
    if not re.fullmatch(r"1?[0-9]", str(niceness)):
        raise OptionError(f"--niceness {niceness}: must be a whole number from 0 to 19; write {NICENESS}")
    access = Access(
        cache=None if given.cache is None else Path(given.cache), offline=given.offline, refresh=given.refresh,
        time_limit=_seconds(given.download_limit, "--download-limit") or DOWNLOAD_LIMIT,
    )  # fmt: skip
    return RunOptions(
        space=given.space, overrides=_overrides(given), output=given.output, resume=given.resume, force=given.force,
        reopen_test=given.reopen_test, time_budget=_seconds(given.time_budget, "--time-budget"),
        address=given.address, insecure=given.insecure, niceness=int(niceness), in_process=given.in_process,
        fit=given.fit, access=access, dry_run=given.dry_run, quiet=given.quiet, language=given.language,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m search.run",
        description="Search a space of recurrent networks for the ones that forecast a market best, "
        "and report whether any of them beats 'tomorrow equals today'.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    add = parser.add_argument
    add("space", nargs="?", metavar="SPACE.yaml", help="the space file")
    add(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="replace a value of the file; dotted, repeatable: --set space.hidden_size=8",
    )  # fmt: skip
    add("--num-samples", metavar="N", help="number of trials in total (search.num_samples)")
    add("--time-budget", metavar="TIME", help="stop the search this long after its first trial starts: 90s, 10m, 2h")
    add(
        "--fit", action="store_true",
        help="use smaller folds, test set and windows where a series is too short for those of the space",
    )  # fmt: skip
    add(
        "--warm-start", metavar="FOLDER",
        help="try the best configurations of an earlier study first (search.warm_start)",
    )  # fmt: skip
    add("--workers", metavar="N", help="number of trials that run side by side (resources.workers)")
    add(
        "--gpus-per-trial", metavar="SHARE",
        help="GPUs of a trial: 0 to 1, or auto (resources.gpu); resources.when can give some trials more",
    )  # fmt: skip
    add(
        "--output", default=OUTPUT, metavar="DIR",
        help="where studies are stored: a folder, or a URL such as s3://bucket/results (default: results)",
    )  # fmt: skip
    add("--resume", metavar="FOLDER", help="continue a finished or interrupted study")
    add("--force", action="store_true", help="with --resume: even if space, prices or versions have changed")
    add(
        "--reopen-test", action="store_true",
        help="with --resume: evaluate the test set once more, with the current finalists",
    )  # fmt: skip
    add("--ticker", metavar="T", help="a Yahoo ticker, for example ^KS11 (data.source: yahoo, data.ticker)")
    add("--cache", metavar="DIR", help="where downloads are stored (default: the user's cache folder)")
    add("--offline", action="store_true", help="use only prices that are in the cache")
    add("--refresh", action="store_true", help="download again, even if the cache has the prices")
    add("--download-limit", metavar="TIME", help="give up a download after this long, retries included (60s)")
    add("--name", help="name of the study and of its folder")
    add("--seed", metavar="N", help="random seed of the study")
    add(
        "--track", action="append", default=[], metavar="TRACKER", dest="trackers",
        help="log every trial to a tracker (tracking): mlflow=URI, tensorboard or wandb; repeatable",
    )  # fmt: skip
    add("--address", help="address of a Ray cluster, for example auto (default: this machine)")
    add(
        "--insecure", action="store_true",
        help="with --address: join even a cluster without token authentication that other machines can reach",
    )  # fmt: skip
    add(
        "--niceness", metavar="N",
        help="CPU priority of the training processes on this machine: 0 (normal) to 19 (lowest); default: 5",
    )  # fmt: skip
    add(
        "--in-process", action="store_true",
        help="run the trials in this process, without Ray: for debuggers",
    )  # fmt: skip
    add(
        "--language", choices=LANGUAGES, default="en",
        help="language of the report and of the summary: English or Korean (en)",
    )  # fmt: skip
    add("--dry-run", action="store_true", help="check everything and show the plan; run nothing")
    add("--json-schema", action="store_true", help="print the JSON Schema of space files")
    add("--quiet", action="store_true", help="show the result only, no progress")
    return parser


def _check_conflicts(given: argparse.Namespace) -> None:
    if given.insecure and given.address is None:
        raise OptionError("--insecure: needs --address; it concerns joining a cluster; remove it")
    if given.offline and given.refresh:
        raise OptionError("--offline: conflicts with --refresh, which downloads; remove one of them")
    if given.resume and (given.output != OUTPUT or given.name is not None):
        raise OptionError(
            f"--resume {given.resume}: conflicts with --output and --name; a study keeps its folder; remove them"
        )
    if given.resume and given.fit:
        raise OptionError(f"--resume {given.resume}: conflicts with --fit; a study keeps its sizes; remove --fit")
    if given.niceness is not None and given.address not in (None, "local"):
        raise OptionError("--niceness: conflicts with --address; a cluster sets its own; remove it")
    if given.in_process:
        for option, value in (("--address", given.address), ("--niceness", given.niceness)):
            if value is not None:
                raise OptionError(
                    f"--in-process: conflicts with {option}; it runs all trials in this process; remove one of them"
                )


def _overrides(given: argparse.Namespace) -> list[tuple[str, str, str]]:
    from search.common.credentials import strip_credentials

    found = []
    for setting in given.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise OptionError(f"--set {setting}: '=' is missing; write --set KEY=VALUE, for example --set seed=1")
        found.append((name.strip(), value, f"--set {strip_credentials(setting)}"))
    for track in given.trackers:
        name, equals, value = track.partition("=")
        if name == "mlflow" and not value:
            raise OptionError(
                f"--track {track}: the address is missing; write for example --track mlflow=sqlite:///mlflow.db"
            )
        found.append(
            (f"tracking.{name}", json.dumps(value) if equals else "true", f"--track {strip_credentials(track)}")
        )
    if given.ticker is not None:
        for key, text in (("source", "yahoo"), ("tickers", "[]"), ("ticker", json.dumps(given.ticker))):
            found.append((f"data.{key}", text, f"--ticker {given.ticker}"))
    for name, key in (
        ("num_samples", "search.num_samples"), ("workers", "resources.workers"), ("name", "name"), ("seed", "seed"),
        ("gpus_per_trial", "resources.gpu"), ("warm_start", "search.warm_start"),
    ):  # fmt: skip
        if (value := getattr(given, name)) is not None:
            text = json.dumps(value) if name in ("name", "warm_start") else value  # a name such as 2024 stays text
            found.append((key, text, f"--{name.replace('_', '-')} {value}"))
    return found


def _seconds(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if not match or not float(match[1]):
        raise OptionError(f"{option} {text}: must be a number with s, m, h or d; write for example 90s, 10m or 2h")
    return float(match[1]) * UNITS[match[2]]
