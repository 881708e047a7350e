"""Forecast the next session with a study's finalist: `python -m stockrnn.forecast results/STUDY`."""

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockrnn.forecaster.files import get_value, read_json_object
from stockrnn.forecaster.text import MAX_TEXT_LENGTH, format_forecast
from stockrnn.io.errors import UserError
from stockrnn.io.files import line, suggest_folder
from stockrnn.io.storage import RemoteFolder, StorageError, is_url, local_copy
from stockrnn.io.terminal import escape_unencodable
from stockrnn.plugins import check_plugins

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.forecaster.intervals import DayIntervals
    from stockrnn.forecaster.study_prices import PriceRequest
    from stockrnn.prices.request import Access
    from stockrnn.prices.series import Prices

__all__ = ["main"]

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130
MAX_MANIFEST_BYTES = 4_000_000
NETWORK_GROUPS = ("stockrnn.architectures", "stockrnn.features", "stockrnn.heads")  # of the plug-ins of a network
RANK = r"[1-9][0-9]{0,8}"
EXAMPLES = """\
examples:
  python -m stockrnn.forecast results/nasdaq
      forecast from the study's own prices, or from today's prices
      if the study used Yahoo
  python -m stockrnn.forecast results/nasdaq --prices today.csv
      forecast from a newer file (Yahoo's columns; dates as YYYY-MM-DD)
  python -m stockrnn.forecast results/nasdaq --rank 2 --json
      use the second finalist; print one JSON object
  python -m stockrnn.forecast results/nasdaq --prices today.csv --refit
      train on all sessions of today.csv, save that as a new version,
      and forecast with it
  python -m stockrnn.forecast results/nasdaq --also results/volatility
      scale the intervals by the volatility that another study forecasts

exit codes: 0 success, 2 wrong input, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    escape_unencodable()
    options = _parser().parse_args(arguments)
    if options.study is None:
        message = "a study is missing; give its folder, for example results/nasdaq"
        print(f"python -m stockrnn.forecast: {message}", file=sys.stderr)
        return WRONG_INPUT
    try:
        with local_copy(options.study, _is_needed) as folder:
            try:
                report = _report(options, str(folder))
            except _OptionError as error:
                raise _OptionError(str(error).replace(str(folder), options.study)) from None
    except _OptionError as error:
        print(line(error, MAX_TEXT_LENGTH), file=sys.stderr)
        return WRONG_INPUT
    except StorageError as error:
        print(f"{line(error, MAX_TEXT_LENGTH)}; check the URL, the credentials and the network", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    for warning in report["warnings"]:
        print(line(warning, MAX_TEXT_LENGTH), file=sys.stderr)
    try:
        print(json.dumps(report, indent=2, allow_nan=False) if options.json else format_forecast(report), flush=True)
    except BrokenPipeError:  # the reader closed the pipe; without this, Python reports the error again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _is_needed(name: str) -> bool:
    return name in ("manifest.json", "prices.parquet") or name.startswith("forecasters/")


class _OptionError(UserError):
    """An invalid option or file; the message is one line."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stockrnn.forecast",
        description="Forecast the next close, its volatility or the probability of a rise with a\n"
        "finalist of a study, and compare it with the rival ('tomorrow equals today' for\n"
        "prices) and the study's verdict.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("study", nargs="?", metavar="FOLDER", help="the study's folder, for example results/nasdaq")
    parser.add_argument(
        "--rank", default="1", metavar="N", help="rank of the finalist (default: 1, the best on validation)"
    )
    parser.add_argument(
        "--prices", metavar="FILE", help="forecast from these prices: a CSV or Parquet file, nasdaq or sp500 "
        "(default: the study's prices, or today's if the study used Yahoo)",
    )  # fmt: skip
    parser.add_argument(
        "--date-format", metavar="FORMAT", help="format of the dates in the file, as in %%d/%%m/%%Y (default: that of "
        "the study, or any unambiguous format)",
    )  # fmt: skip
    parser.add_argument("--ticker", metavar="T", help="forecast from Yahoo's prices of this ticker, for example ^KS11")
    parser.add_argument("--cache", metavar="DIR", help="folder for downloads (default: the user's cache folder)")
    parser.add_argument("--offline", action="store_true", help="use only cached downloads")
    parser.add_argument("--refresh", action="store_true", help="download again, even if the cache has the prices")
    parser.add_argument(
        "--refit", action="store_true", help="train the finalist's configuration on all sessions of these prices, and "
        "save it as a new version beside the others",
    )  # fmt: skip
    parser.add_argument(
        "--also", metavar="FOLDER", help="scale the intervals of prices by the volatility that the best finalist of "
        "this study forecasts; it has task: volatility, and the same prices and horizon",
    )  # fmt: skip
    parser.add_argument("--version", metavar="N", help="use this version of the finalist (default: the newest)")
    parser.add_argument(
        "--calendar", metavar="CODE", help="exchange whose calendar gives the next session, as XKRX (default: that of "
        "the ticker)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _report(options: argparse.Namespace, study: str) -> dict[str, Any]:
    """Return everything that is printed, by name."""
    for one, other in (("prices", "ticker"), ("offline", "refresh"), ("refit", "version")):
        if getattr(options, one) and getattr(options, other):
            raise _OptionError(f"--{one}: conflicts with --{other}; only one of them is allowed; remove the other")
    try:
        versions = _versions(study, options.rank, options.version)
    except OSError as error:
        raise _OptionError(f"{options.study}: cannot be read ({error.strerror}); check the path") from None
    # These imports take seconds, so the folder is checked first.
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.forecaster.next_sessions import next_sessions
    from stockrnn.forecaster.report import forecast_report
    from stockrnn.forecaster.study_prices import load_study_prices
    from stockrnn.prices.calendars import is_installed

    if options.calendar is not None and not is_installed():
        raise _OptionError(
            f"--calendar {options.calendar}: needs the package exchange_calendars, which is not installed; "
            "pip install 'stockrnn-search[calendar]'"
        )
    version = max(versions) if options.version is None else int(options.version)
    try:
        path = Path(study) / "manifest.json"
        manifest = read_json_object(path, MAX_MANIFEST_BYTES) if path.exists() else {}
        _check_plugins(options.study, manifest)
        forecaster = Forecaster.load(versions[version])
        results = _study_results(path, manifest, forecaster.facts.trial_id)
        loaded = load_study_prices(Path(study), forecaster.facts.asked, _price_request(options))
        prices = loaded.prices
        forecasts = forecaster.forecast(prices, [len(prices) - 1])[:, 0]
        intervals, scale = _intervals(options, forecaster, prices)
        if options.refit:
            forecaster = _refit(forecaster, prices, manifest)
            forecasts = forecaster.forecast(prices, [len(prices) - 1])[:, 0]
        report = {"study": options.study, **forecast_report(forecaster, prices, forecasts, intervals), **results}
        days, basis = next_sessions(prices.dates, forecaster.horizon, options.calendar or loaded.exchange)
    except UserError as error:
        raise _OptionError(str(error)) from None
    if not intervals.adapted:  # the shares of test days are those of adapted intervals
        report["held"] = {}
    if scale is not None:
        report["scale"] = scale
    report |= {"forecast_for": str(days[-1]), "forecast_for_basis": basis}
    report["warnings"] = [*([loaded.note] if loaded.note else []), *report["warnings"]]
    if options.refit:
        version = _save(options, forecaster, Path(study) / "forecasters")
        versions[version] = Path(study) / "forecasters"
    report["forecaster"] |= {"version": version, "versions": list(versions), "saved": options.refit}
    return report


def _intervals(
    options: argparse.Namespace, forecaster: "Forecaster", prices: "Prices"
) -> tuple["DayIntervals", dict[str, Any] | None]:
    """Return the intervals of a forecast from the last session, and what they are scaled by; None: by nothing."""
    import numpy as np

    from stockrnn.forecaster.adaptive import adapted_intervals
    from stockrnn.forecaster.forecaster import Forecaster
    from stockrnn.forecaster.intervals import scaled_intervals

    origins = np.array([len(prices) - 1])
    if options.also is None:
        return adapted_intervals(forecaster, prices, origins), None
    try:
        with local_copy(options.also, _is_needed) as folder:
            try:
                versions = _versions(str(folder))
                version = max(versions)
                volatility = Forecaster.load(versions[version])
            except UserError as error:
                raise _OptionError(str(error).replace(str(folder), options.also)) from None
            except OSError as error:
                raise _OptionError(f"cannot be read ({error.strerror}); check the path") from None
        intervals = scaled_intervals(forecaster, volatility, prices, origins, _access(options))
    except UserError as error:
        raise _OptionError(f"--also {options.also}: {error}") from None
    scale = intervals.scale
    assert scale is not None
    return intervals, {
        "study": options.also,
        "trial_id": volatility.facts.trial_id,
        "version": version,
        "volatility": float(scale.volatility[0]),
        "mean_volatility": scale.mean,
        "days": scale.days,
        "relative_loss": scale.relative_loss if math.isfinite(scale.relative_loss) else None,
    }


def _access(options: argparse.Namespace) -> "Access":
    from stockrnn.prices.request import Access

    cache = None if options.cache is None else Path(options.cache)
    return Access(cache=cache, offline=options.offline, refresh=options.refresh)


def _price_request(options: argparse.Namespace) -> "PriceRequest":
    from stockrnn.forecaster.study_prices import PriceRequest

    return PriceRequest(
        prices=options.prices, ticker=options.ticker, date_format=options.date_format, access=_access(options)
    )


def _refit(forecaster: "Forecaster", prices: "Prices", manifest: dict[str, Any]) -> "Forecaster":
    from stockrnn.forecaster.refit import refit

    print(
        f"training on all sessions to {prices.dates[-1]}: {forecaster.seeds} seeds, {forecaster.facts.epochs} epochs",
        file=sys.stderr,
    )
    return refit(forecaster, prices, manifest)


def _save(options: argparse.Namespace, forecaster: "Forecaster", folder: Path) -> int:
    """Save a refitted finalist in the study, which may be behind a URL, and return the number of its version."""
    from stockrnn.forecaster.forecaster import DOCUMENT, WEIGHTS
    from stockrnn.forecaster.versions import VERSION, save_version

    try:
        saved = save_version(forecaster, folder)
    except OSError as error:
        raise _OptionError(
            f"{folder}: the new version cannot be saved ({error.strerror}); make room, or copy the study to a folder "
            "of yours"
        ) from None
    if is_url(options.study):
        storage = RemoteFolder(options.study)
        for name in (WEIGHTS, DOCUMENT):  # a version counts once its document is there
            storage.write(f"forecasters/{saved.name}/{name}", (saved / name).read_bytes())
    match = VERSION.fullmatch(saved.name)
    assert match
    return int(match[2])


def _versions(study: str, rank: str = "1", version: str | None = None) -> dict[int, Path]:
    """Return the folders of the versions of a finalist, by number; checks study, rank and version."""
    from stockrnn.forecaster.versions import find_versions

    folder = Path(study)
    if not folder.is_dir():
        fix = suggest_folder(study, "forecasters")
        raise _OptionError(f"{study}: no such folder; a study is a folder, for example results/nasdaq; {fix}")
    forecasters = folder / "forecasters"
    for path in (forecasters, forecasters / rank if re.fullmatch(RANK, rank) else forecasters):
        if path.is_symlink():
            raise _OptionError(f"{path}: is a link; a study's files must be inside its folder; copy the folder there")
    entries = forecasters.iterdir() if forecasters.is_dir() else ()
    ranks = sorted(int(entry.name) for entry in entries if re.fullmatch(RANK, entry.name))
    if not ranks:
        raise _OptionError(
            f"{study}: has no forecasters; a study saves them when it ends with at least one finalist; "
            f"finish it with python -m search.run --resume {study}"
        )
    if not re.fullmatch(RANK, rank) or int(rank) not in ranks:
        known = ", ".join(map(str, ranks))
        raise _OptionError(f"--rank {rank}: is not a rank of {study}; its ranks are {known}; choose one of them")
    versions = find_versions(forecasters, int(rank))
    if version is not None and version not in map(str, versions):
        known = ", ".join(map(str, versions))
        raise _OptionError(
            f"--version {version}: is not a version of rank {rank} of {study}; its versions are {known}; "
            "choose one of them"
        )
    if link := next((path for path in versions.values() if path.is_symlink()), None):
        raise _OptionError(f"{link}: is a link; a study's files must be inside its folder; copy the folder there")
    return versions


def _check_plugins(study: str, manifest: dict[str, Any]) -> None:
    """Raise PluginError if the study's finalists need a plug-in that is not installed."""
    plugins = manifest.get("plugins")
    entries = plugins if isinstance(plugins, list) else []
    check_plugins(study, [entry for entry in entries if get_value(entry, "group") in NETWORK_GROUPS])


def _study_results(path: Path, manifest: dict[str, Any], trial_id: str) -> dict[str, Any]:
    """Read a study's verdict and a trial's interval coverage on the test block from its manifest.

    Returns:
        `verdict`: sentences, or None if the study has no verdict; `held`: share of test days by interval level.
    """
    verdict = manifest.get("verdict")
    sentences = [verdict] if isinstance(verdict, str) else verdict or []
    if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
        raise _OptionError(f"{path}: verdict: must be a text or a list of texts; copy the study's folder again")
    openings = manifest.get("test_openings")
    scored = [
        scores for one in (openings if isinstance(openings, list) else []) if (scores := get_value(one, "scores"))
    ]
    scores = get_value(scored[-1], trial_id) if scored else None  # an interrupted opening has no scores
    coverages = {level: get_value(scores, f"test_coverage_{level}") for level in (80, 95)}
    shares = {level: share for level, share in coverages.items() if isinstance(share, float) and 0 <= share <= 1}
    return {"verdict": [sentence for sentence in sentences if sentence.strip()] or None, "held": shares}


if __name__ == "__main__":
    sys.exit(main())
