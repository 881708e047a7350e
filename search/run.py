"""The command line: `python -m search.run SPACE.yaml`."""

import argparse
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from search.terminal import AT_ONCE, INTERRUPTED

if TYPE_CHECKING:
    from search.mirror import Mirror
    from search.space import Space
    from search.study import Outcome
    from stockrnn.folds import WalkForward
    from stockrnn.prices import Access
    from stockrnn.series import Prices

    Plan = tuple[Space, Prices, WalkForward, str]

__all__ = ["main"]

OUTPUT = "results"
DONE, NOTHING_FINISHED, WRONG_INPUT = 0, 1, 2  # and INTERRUPTED
TOP = 10
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.json_schema:
        from search.schema import schema_text

        print(schema_text(), end="")
        return DONE
    if options.space is None and options.resume is None:
        print(
            "python -m search.run: a space file is missing; name one, as in spaces/smoke.yaml",
            file=sys.stderr,
        )
        return WRONG_INPUT
    from search.admission import AdmissionError
    from search.document import SpaceError
    from search.lock import LockedError
    from search.record import DamagedError
    from search.tracking_address import without_credentials
    from search.wording import one_line
    from stockrnn.series import PriceError
    from stockrnn.storage import StorageError

    try:
        return _run(options)
    except SpaceError as error:
        print(*map(without_credentials, error.problems), sep="\n", file=sys.stderr)
    except StorageError as error:
        print(
            f"{one_line(str(error))}; results are kept there; check the URL, its keys and the way to it",
            file=sys.stderr,
        )
    except (PriceError, AdmissionError, LockedError, DamagedError, _OptionError) as error:
        print(*(one_line(without_credentials(line)) for line in str(error).split("\n")), sep="\n", file=sys.stderr)
    except KeyboardInterrupt:  # before the study took over
        print(AT_ONCE, file=sys.stderr)
        return INTERRUPTED
    return WRONG_INPUT


class _OptionError(ValueError):
    """A wrong option, in one line."""


def _run(options: argparse.Namespace) -> int:
    from search.space import load_space
    from search.tracking import check_installed
    from stockrnn.storage import check_url, is_url

    budget = _seconds(options.time_budget, "--time-budget")
    most = options.max_concurrent
    if most is not None and not re.fullmatch(r"0*[1-9]\d{0,5}", most):
        raise _OptionError(
            f"--max-concurrent {most}: is no number of trials; it is a whole number, at least 1; write 1"
        )
    if options.insecure and options.address is None:
        raise _OptionError("--insecure: stands without --address; it is about joining a cluster; drop it")
    for option, place in (("--output", options.output), ("--resume", options.resume)):
        if place and is_url(place):
            try:
                check_url(place)
            except ValueError as error:
                raise _OptionError(f"{option} {place}: {error}") from None
    access = _access(options)
    if options.resume:
        return _go_on(options, budget, most)
    space = load_space(options.space, _overrides(options))
    check_installed(space)
    if options.dry_run:
        _plan(options, space.studies(), access)
        return DONE
    plans = [_planned(options, each, access) for each in space.studies()]
    if not is_url(options.output):
        _check_writable(Path(options.output))
    if len(plans) == 1:
        return _begin(options, *plans[0], budget, most)
    return _studies(options, space, plans, budget, most)


def _planned(options: argparse.Namespace, space: "Space", access: "Access") -> "Plan":
    """A study before it begins: its space, prices, folds and folder, all checked."""
    from search.plan import plan
    from search.wording import one_line
    from stockrnn.alignment import prepare

    prices = prepare(space.data, access)
    fitting = space.fitting(prices)
    walk = fitting.folds(prices)
    if not options.quiet:
        for finding in prices.findings:
            print(one_line(f"{prices.source}: {finding.text}"), file=sys.stderr)
        if fitting != space:
            print(f"{prices.source}: no usable volume, so the features are ohlc", file=sys.stderr)
    if options.dry_run:
        print(plan(fitting, prices, walk))
    place = _place(options, space)
    return fitting, prices, walk, place


def _plan(options: argparse.Namespace, studies: Sequence["Space"], access: "Access") -> None:
    """Show what studies will be; where Yahoo cannot be asked, without their prices."""
    from search.plan import plan
    from search.wording import one_line
    from stockrnn.yahoo import AwayError

    for space in studies:
        try:
            _planned(options, space, access)
        except AwayError as away:
            access = replace(access, offline=True, refresh=False)  # nor is it asked for the others
            try:
                _planned(options, space, access)
            except AwayError:
                print(one_line(f"{str(away).partition(';')[0]}; planned without these prices"), file=sys.stderr)
                print(plan(space, None, None))
                _place(options, space)
    if len(studies) > 1:
        print(f"in all: {len(studies)} studies, one after the other")


def _place(options: argparse.Namespace, space: "Space") -> str:
    """Where a study will be kept.

    Raises:
        SpaceError: there is something.
    """
    from stockrnn.storage import RemoteFolder, is_url, joined

    place = joined(options.output, space.name)
    if RemoteFolder(place).names() if is_url(place) else os.path.lexists(place):
        raise space.error(
            ("name",), f"{place} exists already; each study has a folder of its own; go on with it by --resume "
            f"{place}, choose another name with --name, or remove the folder",
        )  # fmt: skip
    return place


def _studies(
    options: argparse.Namespace, space: "Space", plans: Sequence["Plan"], budget: float | None, most: str | None
) -> int:
    """Several studies, one after another on one Ray, and their comparison."""
    from search.comparison import write_comparison
    from search.mirror import work_folder
    from search.workers import ray_running
    from stockrnn.storage import RemoteFolder, is_url, joined

    codes = []
    with ray_running(options.address, insecure=options.insecure):
        for number, plan in enumerate(plans, start=1):
            _show(f"Study {number} of {len(plans)}: {plan[0].name}, {plan[0].data.ticker}")
            codes.append(_begin(options, *plan, budget, most))
            _show("")
            if codes[-1] == INTERRUPTED:
                break
    folders = [work_folder(place) if is_url(place) else Path(place) for *_, place in plans]
    begun = [folder for folder in folders if (folder / "manifest.json").exists()]
    name = f"{space.name}.html"
    if is_url(options.output):
        page = write_comparison(begun, folders[0].parent / name)
        RemoteFolder(options.output).write(name, page.read_bytes())
    else:
        write_comparison(begun, Path(options.output) / name)
    _show(f"{len(begun)} studies, side by side: {joined(options.output, name)}")
    return max(codes)


def _begin(
    options: argparse.Namespace, space: "Space", prices: "Prices", walk: "WalkForward", place: str,
    budget: float | None, most: str | None,
) -> int:  # fmt: skip
    """A study that is new, in a folder or behind a URL."""
    from search.mirror import mirrored
    from stockrnn.storage import is_url

    if not is_url(place):
        return _study(options, space, prices, walk, Path(place), budget, most)
    with mirrored(place, _show) as mirror:
        mirror.clear()
        return _study(options, space, prices, walk, mirror.folder, budget, most, mirror)


def _go_on(options: argparse.Namespace, budget: float | None, most: str | None) -> int:
    """Resume a study, in a folder or behind a URL."""
    from search.mirror import MANIFEST, mirrored
    from stockrnn.storage import RemoteFolder, is_url

    place = options.resume
    if options.output != OUTPUT or options.name is not None:
        raise _OptionError(f"--resume {place}: stands beside --output or --name; a study stays where it is; drop them")
    there = MANIFEST in RemoteFolder(place).names() if is_url(place) else os.path.exists(Path(place, MANIFEST))
    if not there:
        raise _OptionError(
            f"--resume {place}: is no study, it has no manifest.json; a study is named by its folder, as in "
            f"results/all; check the path, or start it anew"
        )
    if not is_url(place):
        return _resume(options, Path(place), budget, most)
    with mirrored(place, _show) as mirror:
        mirror.fetch()
        return _resume(options, mirror.folder, budget, most, mirror)


def _resume(
    options: argparse.Namespace, folder: Path, budget: float | None, most: str | None, mirror: "Mirror | None" = None
) -> int:
    from search.plan import plan
    from search.resume import changes, read_manifest
    from search.space import load_space
    from search.tracking import check_installed
    from stockrnn.parquet import read_prices

    manifest = read_manifest(folder / "manifest.json")
    overrides = [*_overrides(options), ("name", json.dumps(manifest.get("name")), "--resume")]
    space = load_space(options.space or str(folder / "space.yaml"), overrides)
    check_installed(space)
    try:
        prices, _ = read_prices(folder / "prices.parquet")
    except FileNotFoundError:
        raise _OptionError(f"{folder}: has no prices.parquet; a study keeps its prices there; copy it back") from None
    if (different := changes(manifest, space, prices)) and not options.force:
        raise _OptionError(
            "\n".join(f"--resume {options.resume}: {what}" for what in different)
            + f"\n--resume {options.resume}: a study goes on as it began, or its trials cannot be compared; "
            "undo this, begin another study, or add --force"
        )
    walk = space.folds(prices)
    if options.dry_run:
        print(plan(space, prices, walk))
        return DONE
    _check_writable(folder)
    return _study(options, space, prices, walk, folder, budget, most, mirror)


def _study(
    options: argparse.Namespace, space: "Space", prices: "Prices", walk: "WalkForward", folder: Path,
    budget: float | None, most: str | None, mirror: "Mirror | None" = None,
) -> int:  # fmt: skip
    from search.disk import DiskError
    from search.lock import LockedError
    from search.reach import ReachError
    from search.record import DamagedError
    from search.tracking_address import without_credentials
    from search.wording import one_line

    signal.signal(signal.SIGTERM, _interrupt)  # while Ray starts, as Ctrl-C does; then the study's own handlers stand
    import search.study as study

    place = mirror.url if mirror else str(folder)
    try:
        outcome = study.run_study(
            space, prices, walk,
            study.Options(
                folder=folder, mirror=mirror,
                command=without_credentials(shlex.join(["python", "-m", "search.run", *sys.argv[1:]])),
                max_concurrent=None if most is None else int(most), time_budget=budget, address=options.address,
                insecure=options.insecure, quiet=options.quiet, resume=bool(options.resume),
                reopen_test=options.reopen_test,
            ),
        )  # fmt: skip
    except (LockedError, DamagedError, DiskError, ReachError) as error:
        raise _OptionError(str(error)) from None
    _show(_summary(space, outcome, folder, place))
    if outcome.failure:
        print(one_line(outcome.failure), file=sys.stderr)
    if outcome.interrupted:
        return INTERRUPTED
    succeeded = any(end.status in ("complete", "stopped") for end in outcome.ends)
    return DONE if succeeded and not outcome.failure else NOTHING_FINISHED


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:  # whoever read has gone; the study's folder holds it all, and Python would complain as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m search.run",
        description="Search a space of recurrent networks for those that forecast a market best, "
        "and say whether any beats 'tomorrow equals today'.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("space", nargs="?", metavar="SPACE.yaml", help="the space file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="lay a value over the file's; dotted, repeatable: --set space.hidden_size=8",
    )  # fmt: skip
    parser.add_argument("--num-samples", metavar="N", help="trials in all (search.num_samples)")
    parser.add_argument("--time-budget", metavar="TIME", help="end the search after this long: 90s, 10m, 2h")
    parser.add_argument("--max-concurrent", metavar="N", help="trials side by side, at most")
    parser.add_argument(
        "--gpus-per-trial", metavar="SHARE", help="of one GPU: 0 to 1, or auto (resources.gpu); some may ask for more"
    )
    parser.add_argument(
        "--output",
        default=OUTPUT,
        metavar="DIR",
        help="where studies are kept, a folder or a URL such as s3://bucket/results (default: results)",
    )
    parser.add_argument("--resume", metavar="FOLDER", help="go on with a study that ended or was broken off")
    parser.add_argument(
        "--force", action="store_true", help="with --resume: even where space, prices or versions have changed"
    )
    parser.add_argument(
        "--reopen-test", action="store_true", help="with --resume: open the test block once more, for today's finalists"
    )
    parser.add_argument("--ticker", metavar="T", help="a Yahoo ticker, as in ^KS11 (data.source: yahoo, data.ticker)")
    parser.add_argument("--cache", metavar="DIR", help="where downloads are kept (default: the user's cache folder)")
    parser.add_argument("--offline", action="store_true", help="only what the cache holds")
    parser.add_argument("--refresh", action="store_true", help="download anew, whatever the cache holds")
    parser.add_argument(
        "--download-limit", metavar="TIME", help="give a download up after this long, with all its repetitions (60s)"
    )
    parser.add_argument("--name", help="the study's name, and its folder's")
    parser.add_argument("--seed", metavar="N", help="the study's seed")
    parser.add_argument(
        "--track", action="append", default=[], metavar="TRACKER", dest="trackers",
        help="tell a tracker of every trial (tracking): mlflow=URI, tensorboard or wandb; repeatable",
    )  # fmt: skip
    parser.add_argument("--address", help="a Ray cluster to run on, such as auto; default: this machine")
    parser.add_argument(
        "--insecure", action="store_true", help="with --address: even one that asks for no token and others can reach"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, show the plan, run nothing")
    parser.add_argument("--json-schema", action="store_true", help="print the JSON Schema of space files")
    parser.add_argument("--quiet", action="store_true", help="no progress, the result only")
    return parser


def _access(options: argparse.Namespace) -> "Access":
    from stockrnn.prices import Access

    if options.offline and options.refresh:
        raise _OptionError("--offline: stands beside --refresh; one asks for no download, the other for one; drop one")
    cache = None if options.cache is None else Path(options.cache)
    limit = _seconds(options.download_limit, "--download-limit")
    return Access(cache=cache, offline=options.offline, refresh=options.refresh, time_limit=limit or DOWNLOAD_LIMIT)


def _overrides(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """(dotted key, YAML text, the option as typed) of every option that sets a key of the space."""
    from search.tracking_address import without_credentials

    overrides = []
    for setting in options.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise _OptionError(f"--set {setting}: has no '='; write --set KEY=VALUE, as in --set seed=1")
        overrides.append((name.strip(), value, f"--set {without_credentials(setting)}"))
    for track in options.trackers:
        name, equals, value = track.partition("=")
        if name == "mlflow" and not value:
            raise _OptionError(f"--track {track}: names no address; write --track mlflow=sqlite:///mlflow.db, say")
        overrides.append(
            (f"tracking.{name}", json.dumps(value) if equals else "true", f"--track {without_credentials(track)}")
        )
    if options.ticker is not None:
        overrides.append(("data.source", "yahoo", f"--ticker {options.ticker}"))
        overrides.append(("data.tickers", "[]", f"--ticker {options.ticker}"))
        overrides.append(("data.ticker", json.dumps(options.ticker), f"--ticker {options.ticker}"))
    for name, key in (
        ("num_samples", "search.num_samples"), ("name", "name"), ("seed", "seed"), ("gpus_per_trial", "resources.gpu"),
    ):  # fmt: skip
        if (value := getattr(options, name)) is not None:
            text = json.dumps(value) if name == "name" else value  # a name such as 2024 stays text
            overrides.append((key, text, f"--{name.replace('_', '-')} {value}"))
    return overrides


def _seconds(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if not match or not float(match[1]):
        raise _OptionError(f"{option} {text}: is no time; write a number with s, m, h or d, as in 90s, 10m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _check_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise _OptionError(f"--output {output}: cannot be written ({error.strerror}); choose another folder") from None


def _summary(space: "Space", outcome: "Outcome", folder: Path, place: str) -> str:
    from search.leaderboard import table
    from search.progress import duration
    from stockrnn.storage import joined

    parts = [table(outcome.rows, top=TOP, metric=space.search.metric), ""]
    parts.append(textwrap.fill(outcome.verdict, 80))
    ended = sum(end.status != "interrupted" for end in outcome.ends)
    if outcome.before == ended == space.num_samples:
        parts.append(f"All {ended} trials had ended before; leaderboard and report are written anew.")
    if outcome.interrupted:
        parts.append(f"Interrupted after {ended} of {space.num_samples} trials; all that had ended is kept.")
    elif ended < space.num_samples and not outcome.failure:
        parts.append(f"The time budget ended the study after {ended} of {space.num_samples} trials.")
    parts.append("")
    before = f" ({outcome.before} before it was resumed)" if outcome.before else ""
    parts.append(f"{ended} trials{before} in {duration(outcome.seconds)}")
    for what, name in (("report", "report.html"), ("leaderboard", "leaderboard.csv"), ("every epoch", "trials.jsonl")):
        if (folder / name).exists():
            parts.append(f"{what:13}{joined(place, name)}")
    if place != str(folder):
        parts.append(f"{'copy':13}{folder}")
    parts.append(f"{'dashboard':13}optuna-dashboard {folder / 'study.journal'}")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
