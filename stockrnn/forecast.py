"""The command line of a study's forecaster: `python -m stockrnn.forecast results/STUDY`."""

import argparse
import difflib
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockrnn.errors import UserError
from stockrnn.files import line, read_object
from stockrnn.forecast_text import LONGEST, text
from stockrnn.storage import StorageError, copied

if TYPE_CHECKING:
    from stockrnn.configuration import DataConfig
    from stockrnn.forecaster import Data, Forecaster
    from stockrnn.intervals import Interval
    from stockrnn.prices import Access
    from stockrnn.series import Prices

__all__ = ["main"]

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130
MOST_MANIFEST = 4_000_000  # bytes
RANK = r"[1-9][0-9]{0,8}"
EXAMPLES = """\
examples:
  python -m stockrnn.forecast results/nasdaq
      the close after the last one of the study's own prices, or of today's
      where the study's came from Yahoo
  python -m stockrnn.forecast results/nasdaq --prices today.csv
      after the last close of a newer file (Yahoo's columns; dates YYYY-MM-DD)
  python -m stockrnn.forecast results/nasdaq --rank 2 --json
      by the second finalist, as one JSON object

exit codes: 0 done, 2 wrong input, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.study is None:
        print("python -m stockrnn.forecast: a study is missing; name its folder, as in results/nasdaq", file=sys.stderr)
        return WRONG_INPUT
    try:
        with copied(options.study, _needed) as folder:
            try:
                found = _found(options, str(folder))
            except _OptionError as error:
                raise _OptionError(str(error).replace(str(folder), options.study)) from None
    except _OptionError as error:
        print(line(error, LONGEST), file=sys.stderr)
        return WRONG_INPUT
    except StorageError as error:
        print(f"{line(error, LONGEST)}; check the URL, its keys and the way to it", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    for warning in found["warnings"]:
        print(line(warning, LONGEST), file=sys.stderr)
    try:
        print(json.dumps(found, indent=2, allow_nan=False) if options.json else text(found), flush=True)
    except BrokenPipeError:  # whoever reads has seen enough; Python would complain once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _needed(name: str) -> bool:
    return name == "manifest.json" or name.startswith("forecasters/")


class _OptionError(UserError):
    """A wrong option or file, in one line."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stockrnn.forecast",
        description="Forecast the next close with a finalist of a study, beside 'tomorrow equals\n"
        "today' and what the study says about the two.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("study", nargs="?", metavar="FOLDER", help="the study's folder, as in results/nasdaq")
    parser.add_argument("--rank", default="1", metavar="N", help="which finalist (default: 1, the best on validation)")
    parser.add_argument(
        "--prices", metavar="FILE", help="prices to forecast from: a CSV or Parquet file, nasdaq or sp500; "
        "default: those of the study, or today's where they came from Yahoo",
    )  # fmt: skip
    parser.add_argument("--ticker", metavar="T", help="prices to forecast from: Yahoo's of a ticker, as in ^KS11")
    parser.add_argument("--cache", metavar="DIR", help="where downloads are kept (default: the user's cache folder)")
    parser.add_argument("--offline", action="store_true", help="only what the cache holds")
    parser.add_argument("--refresh", action="store_true", help="download anew, whatever the cache holds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _found(options: argparse.Namespace, study: str) -> dict[str, Any]:
    """All that is printed, by name."""
    for one, other in (("prices", "ticker"), ("offline", "refresh")):
        if getattr(options, one) and getattr(options, other):
            raise _OptionError(f"--{one}: stands beside --{other}; each excludes the other; drop one")
    try:
        folder = _folder(study, options.rank)
    except OSError as error:
        raise _OptionError(f"{options.study}: cannot be read ({error.strerror}); check the path") from None
    # What follows costs seconds: not before a misspelt folder has been found.
    from stockrnn.alignment import prepare
    from stockrnn.forecaster import Forecaster, ForecasterError
    from stockrnn.series import PriceError

    try:
        forecaster = Forecaster.load(folder)
        said = _said(Path(study) / "manifest.json", forecaster.facts.trial_id)
        asked = _asked(options, forecaster.facts.asked)
        prices = prepare(asked, _access(options))
        closes = forecaster.forecast(prices, [len(prices) - 1])[:, 0]
    except (ForecasterError, PriceError) as error:
        raise _OptionError(str(error)) from None
    return _described(options, forecaster, prices, closes.tolist()) | said


def _folder(study: str, rank: str) -> Path:
    """The folder of a study's forecaster; both as typed."""
    folder = Path(study)
    if not folder.is_dir():
        beside = [entry.name for entry in folder.parent.iterdir()] if folder.parent.is_dir() else []
        close = difflib.get_close_matches(folder.name, beside, n=1)
        fix = f"did you mean {folder.parent / close[0]}?" if close else "check the path"
        raise _OptionError(f"{study}: no such folder; a study is named by its folder, as in results/nasdaq; {fix}")
    forecasters = folder / "forecasters"
    for path in (forecasters, forecasters / rank if re.fullmatch(RANK, rank) else forecasters):
        if path.is_symlink():
            raise _OptionError(f"{path}: is a link; a study's files lie in its folder; copy the folder itself there")
    entries = forecasters.iterdir() if forecasters.is_dir() else ()
    ranks = sorted(int(entry.name) for entry in entries if re.fullmatch(RANK, entry.name))
    if not ranks:
        raise _OptionError(
            f"{study}: has no forecasters; a study that ends with a finalist keeps them, one that was interrupted "
            f"or found none does not; go on with python -m search.run --resume {study}"
        )
    if not re.fullmatch(RANK, rank) or int(rank) not in ranks:
        known = ", ".join(map(str, ranks))
        raise _OptionError(f"--rank {rank}: is no rank of {study}; its forecasters are {known}; choose one of them")
    return forecasters / rank


def _access(options: argparse.Namespace) -> "Access":
    from stockrnn.prices import Access

    cache = None if options.cache is None else Path(options.cache)
    return Access(cache=cache, offline=options.offline, refresh=options.refresh)


def _asked(options: argparse.Namespace, study: "DataConfig") -> "DataConfig":
    """The prices that the options ask for: the study's own, newer ones of its ticker, or others."""
    from stockrnn.sources import SOURCES, YAHOO, with_tickers

    if options.prices is not None:
        if options.prices in with_tickers():
            source = SOURCES[options.prices]
            raise _OptionError(
                f"--prices {options.prices}: names no series; {source.whose} have tickers; "
                f"write --ticker {source.ticker}, say"
            )
        changes = {"source": options.prices, "ticker": None, "start": None, "end": None}
    elif options.ticker is not None:
        changes = {
            "source": study.source if study.source in with_tickers() else YAHOO,
            "ticker": options.ticker,
            "end": None,
        }
    elif study.source in with_tickers():
        changes = {"end": None}
    else:
        changes = {}
        _check_file(study.source, "the study's prices were there; name prices with --prices FILE")
    for other in study.also:
        _check_file(other.source, f"the forecaster reads its input {other.name} from it; put it there again")
    if changes:  # not the study's own days: the other series go on, too
        changes["also"] = tuple(other.model_copy(update={"end": None}) for other in study.also)
    return study.model_copy(update=changes)


def _check_file(source: str, advice: str) -> None:
    """Refuse what was a study's file and is none now."""
    from stockrnn.sources import SOURCES

    if source not in SOURCES and not os.path.isfile(os.path.expanduser(source)):
        raise _OptionError(f"{source}: no such file; {advice}")


def _said(path: Path, trial_id: str) -> dict[str, Any]:
    """What the study's manifest says: its verdict in sentences, and the share of test days in each interval.

    `verdict` is None where it has none; `held` is by level, of the forecaster's trial.
    """
    manifest = read_object(path, MOST_MANIFEST) if path.exists() else {}
    found = manifest.get("verdict")
    sentences = [found] if isinstance(found, str) else found or []
    if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
        raise _OptionError(f"{path}: verdict: is neither text nor a list of sentences; copy the study's folder again")
    scores: Any = manifest.get("test_openings") or [{}]
    for step in (-1, "scores", trial_id):
        scores = scores[step] if step == -1 and isinstance(scores, list) else _within(scores, step)
    held = {level: _within(scores, f"test_coverage_{level}") for level in (80, 95)}
    shares = {level: share for level, share in held.items() if isinstance(share, float) and 0 <= share <= 1}
    return {"verdict": [sentence for sentence in sentences if sentence.strip()] or None, "held": shares}


def _within(found: Any, name: Any) -> Any:
    return found.get(name) if isinstance(found, dict) else None


def _described(
    options: argparse.Namespace, forecaster: "Forecaster", prices: "Prices", closes: list[float]
) -> dict[str, Any]:
    """All that is printed but the verdict; `closes` are the seeds' forecasts."""
    import numpy as np

    facts, network, provenance = forecaster.facts, forecaster.network, prices.provenance
    forecast, last = sum(closes) / len(closes), float(prices.column("close")[-1])
    if not all(math.isfinite(close) for close in closes) or forecast <= 0:
        raise _OptionError(
            f"{prices.source}: the forecast is {forecast:g}, which is no price; its prices lie too far from those "
            f"trained on ({facts.trained_from} to {facts.trained_to}); run a study on them"
        )
    same = provenance.sha256 == facts.data.sha256
    # What is odd in the study's own series, the study has said.
    told = [note for note in prices.findings if not same or note.severity == "repair" or note.check == "cache"]
    warnings = [f"{prices.source}: {note.text}" for note in told]
    newer = _newer(prices, facts.data)
    if provenance.end < facts.trained_to:
        warnings.append(
            f"{prices.source}: ends on {provenance.end}, before the training did ({facts.trained_to}); "
            f"the forecaster has seen what it forecasts"
        )
    elif provenance.end < facts.data.end:
        warnings.append(
            f"{prices.source}: ends on {provenance.end}, before the study's prices did ({facts.data.end}); "
            f"the study has seen what is forecast"
        )
    elif not same and newer is None:
        warnings.append(
            f"{prices.source}: differs from the study's prices ({facts.data.source}) on the study's own days; "
            f"neither the forecaster nor its intervals know this series"
        )
    target = np.busday_offset(prices.dates[-1], forecaster.horizon, roll="backward")
    return {
        "study": options.study,
        "forecaster": {
            "rank": facts.rank,
            "trial_id": facts.trial_id,
            "architecture": network.architecture,
            "head": network.head,
            "hidden_size": network.hidden_size,
            "num_layers": network.num_layers,
            "sequence_length": forecaster.window.sequence_length,
            "seeds": forecaster.seeds,
            "epochs": facts.epochs,
            "trained_from": facts.trained_from,
            "trained_to": facts.trained_to,
        },
        "prices": {
            "source": prices.source,
            "start": provenance.start,
            "end": provenance.end,
            "sessions": len(prices),
            "sha256": provenance.sha256,
            "as_in_the_study": same,
            "newer_sessions": newer,
        },
        "study_prices": facts.data.model_dump(),
        "horizon": forecaster.horizon,
        "last_close": {"date": provenance.end, "close": last},
        "forecast_for": str(target),
        "forecast": _side(forecast, last, forecaster.intervals) | {"seeds": closes},
        "persistence": _side(last, last, forecaster.persistence_intervals),
        "warnings": warnings,
    }


def _newer(prices: "Prices", data: "Data") -> int | None:
    """How many sessions follow the study's; None where the series are not the same up to there."""
    import numpy as np

    known = (prices.dates >= np.datetime64(data.start)) & (prices.dates <= np.datetime64(data.end))
    if not known.any() or prices.rows(known).sha256 != data.sha256:
        return None
    return int((prices.dates > np.datetime64(data.end)).sum())


def _side(forecast: float, last: float, intervals: Sequence["Interval"]) -> dict[str, Any]:
    """A forecast, its change from the last close, and its intervals: `low` and `high` are null where unbounded."""
    bounds = [(interval, interval.bounds(forecast) or (None, None)) for interval in intervals]
    return {
        "close": forecast,
        "change": forecast - last,
        "change_percent": 100 * (forecast / last - 1),
        "intervals": [
            {"level": interval.level, "low": low, "high": high, "residuals": interval.residuals}
            for interval, (low, high) in bounds
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
