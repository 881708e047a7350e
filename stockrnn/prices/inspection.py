"""Run `python -m stockrnn.prices SOURCE`: read, clean and describe a daily series, and list what was found."""

import argparse
import glob
import io
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockrnn.io.errors import UserError
from stockrnn.io.files import line, write_atomic
from stockrnn.io.terminal import escape_unencodable
from stockrnn.prices.series import PriceError, Prices

if TYPE_CHECKING:
    from stockrnn.prices.config import SourceConfig

__all__ = ["main"]

EXIT_OK, EXIT_WRONG_INPUT, EXIT_INTERRUPTED = 0, 2, 130
MAX_WIDTH = 80  # characters of a line of findings
MAX_TEXT = 10_000  # characters of a printed text
EXAMPLES = """\
examples:
  python -m stockrnn.prices kospi.csv
  python -m stockrnn.prices prices/*.csv
      (several files: a line for each, and what was found in it)
  python -m stockrnn.prices bourse.csv --date-format %d/%m/%Y --calendar XPAR
  python -m stockrnn.prices --ticker ^KS11 --start 2010-01-01 --output kospi.parquet
      (a space file then reads it with `data: {source: kospi.parquet}`)

exit codes: 0 success, 2 wrong input, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    escape_unencodable()
    options = _parser().parse_args(arguments)
    sources = [file for source in options.sources for file in _expand(source)]
    if len(sources) > 1:
        return _inspect_several(options, sources)
    options.source = sources[0] if sources else None
    try:
        if options.output is not None:
            _check_output(options.output, options.source)
        prices, exchange = _load_and_check(options)
        summary = _summary(prices, exchange)
        if options.output is not None:
            _write(Path(options.output), prices)
    except (PriceError, _OptionError) as error:
        print(line(error, MAX_TEXT), file=sys.stderr)
        return EXIT_WRONG_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    text = json.dumps(summary, indent=2, allow_nan=False) if options.json else _text(summary, options.output)
    _print(text)
    return EXIT_OK


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader stopped early; without this, Python reports the error again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _expand(source: str) -> list[str]:
    """Return the files that match a pattern, sorted; a name that is no pattern, or matches none, unchanged."""
    path = os.path.expanduser(source)
    if os.path.exists(path) or not glob.has_magic(path):
        return [source]
    return sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file)) or [source]


def _inspect_several(options: argparse.Namespace, sources: Sequence[str]) -> int:
    """Print a line for each of several series, and its findings; return the exit code."""
    if options.output is not None or options.ticker is not None:
        name = "--output" if options.output is not None else "--ticker"
        print(f"{name}: conflicts with several sources; it is for one series; remove it", file=sys.stderr)
        return EXIT_WRONG_INPUT
    found, failed = [], 0
    for source in dict.fromkeys(sources):
        try:
            summary = _summary(*_load_and_check(argparse.Namespace(**{**vars(options), "source": source})))
        except (PriceError, _OptionError) as error:
            print(line(error, MAX_TEXT), file=sys.stderr)
            failed += 1
            continue
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        found.append(summary)
        if not options.json:
            _print("\n".join(_row(summary)))
    if options.json:
        _print(json.dumps(found, indent=2, allow_nan=False))
    else:
        _print(f"{len(found)} series can be used, {failed} cannot")
    return EXIT_WRONG_INPUT if failed else EXIT_OK


def _row(summary: dict[str, Any]) -> list[str]:
    """Return the line of a series among several, and its findings."""
    source, days = line(summary["source"], MAX_TEXT), f"{summary['start']} to {summary['end']}"
    findings = [f"  {found['severity']:9}{line(found['text'], MAX_TEXT)}" for found in summary["findings"]]
    return [f"{source}: {summary['sessions']:,} sessions, {days}", *map(_wrap, findings)]


class _OptionError(UserError):
    """A wrong option; the message is one line."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stockrnn.prices",
        description="Read daily prices, clean and check them, and print a summary with all repairs and warnings.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "sources", nargs="*", metavar="SOURCE",
        help="nasdaq, sp500, or the path of a CSV or Parquet file; several, and patterns such as 'prices/*.csv'",
    )  # fmt: skip
    add("--ticker", metavar="T", help="a Yahoo ticker to download, instead of SOURCE")
    add("--start", metavar="DAY", help="first day to use, YYYY-MM-DD")
    add("--end", metavar="DAY", help="last day to use, YYYY-MM-DD")
    add("--no-adjust", action="store_true", help="do not adjust Yahoo's prices for dividends")
    add("--date-format", metavar="FORMAT", help="format of the dates in the file, as in %%d/%%m/%%Y")
    add("--cache", metavar="FOLDER", type=Path, help="folder of the download cache")
    add("--offline", action="store_true", help="use the cache only, without a download")
    add("--refresh", action="store_true", help="download again, even if the cache has a copy")
    add("--calendar", metavar="CODE", help="exchange to compare the sessions with, as XKRX (default: the ticker's)")
    add("--output", metavar="FILE", help="write the clean series as a Parquet file, which can be a SOURCE")
    add("--json", action="store_true", help="print one JSON object, or a list of them")
    return parser


def _load_and_check(options: argparse.Namespace) -> tuple[Prices, str | None]:
    """Return the clean series with all findings, and the exchange that it was compared with."""
    from stockrnn.prices.calendars import compare_with_calendar, exchange_of, is_installed
    from stockrnn.prices.cleaning import clean
    from stockrnn.prices.loading import Access, load
    from stockrnn.prices.sources import SHIPPED, YAHOO

    if (options.source is None) == (options.ticker is None):
        raise _OptionError(
            "python -m stockrnn.prices: needs either SOURCE or --ticker; one of them selects the prices; "
            "for example write nasdaq"
        )
    if options.offline and options.refresh:
        raise _OptionError(
            "--offline, --refresh: exclude each other; --offline never downloads, --refresh always does; remove one"
        )
    config = _config(options, YAHOO)
    access = Access(cache=options.cache, offline=options.offline, refresh=options.refresh)
    prices = clean(load(config, access))
    exchange = options.calendar
    if exchange is None and is_installed():
        exchange = exchange_of(config.ticker or ("^GSPC" if config.source in SHIPPED else ""))
    if exchange is None:
        return prices, None
    prices = prices.with_findings(*compare_with_calendar(prices, exchange))
    return prices, exchange if is_installed() else f"{exchange}: not compared; pip install exchange_calendars"


def _config(options: argparse.Namespace, yahoo: str) -> "SourceConfig":
    from pydantic import ValidationError

    from stockrnn.prices.config import SourceConfig

    given = {"start": options.start, "end": options.end, "date_format": options.date_format, "ticker": options.ticker}
    try:
        return SourceConfig.model_validate(
            {"source": yahoo if options.source is None else options.source, "adjust": not options.no_adjust, **given}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "source"
        option = "SOURCE" if name == "source" else f"--{name.replace('_', '-')}"
        problem = str(first["msg"]).removeprefix("Value error, ")
        raise _OptionError(f"{option} {given.get(name, options.source)!s}: {problem}") from None


def _summary(prices: Prices, exchange: str | None) -> dict[str, Any]:
    """Return the printed values. Returns are simple returns: close over the previous close, minus 1."""
    from stockrnn.prices.cleaning import unusable_volume_reason

    closes, dates = prices.column("close"), prices.dates.astype(str).tolist()
    returns, gaps = closes[1:] / closes[:-1] - 1, (prices.dates[1:] - prices.dates[:-1]).astype(int)
    low, high, gap = int(returns.argmin()), int(returns.argmax()), int(gaps.argmax())
    provenance = prices.provenance
    return {
        "source": provenance.source,
        "fetched": provenance.fetched,
        "start": provenance.start,
        "end": provenance.end,
        "sessions": provenance.sessions,
        "columns": list(prices.columns),
        "first_close": float(closes[0]),
        "last_close": float(closes[-1]),
        "daily_return": {
            "mean": float(returns.mean()),
            "sd": float(returns.std(ddof=1)) if len(returns) > 1 else None,
            "min": {"date": dates[low + 1], "value": float(returns[low])},
            "max": {"date": dates[high + 1], "value": float(returns[high])},
        },
        "longest_gap": {"days": int(gaps[gap]), "from": dates[gap], "to": dates[gap + 1]},
        "volume_unusable": unusable_volume_reason(prices),
        "calendar": exchange,
        "sha256": provenance.sha256,
        "findings": [asdict(finding) for finding in prices.findings],
    }


def _text(summary: dict[str, Any], output: str | None) -> str:
    """Return the printed text; findings are wrapped at MAX_WIDTH."""
    change, gap, sd = summary["daily_return"], summary["longest_gap"], summary["daily_return"]["sd"]
    low, high = (f"{100 * day['value']:+.3g} % on {day['date']}" for day in (change["min"], change["max"]))
    spread = "" if sd is None else f", sd {100 * sd:.3g} %"
    values = {
        "source": line(summary["source"], MAX_TEXT),
        "downloaded": summary["fetched"],
        "sessions": f"{summary['sessions']:,}, {summary['start']} to {summary['end']}",
        "columns": ", ".join(summary["columns"]),
        "first close": f"{summary['first_close']:,.10g}",
        "last close": f"{summary['last_close']:,.10g}",
        "daily return": f"mean {100 * change['mean']:+.3g} %{spread}",
        "lowest": low,
        "highest": high,
        "longest gap": f"{gap['days']} days, {gap['from']} to {gap['to']}",
        "calendar": summary["calendar"],
        "sha256": summary["sha256"],
        "written to": output,
    }
    rows = [f"{name:14}{value}" for name, value in values.items() if value is not None]
    labels = {"repair": "repaired", "warning": "warning"}
    findings = [f"{labels[found['severity']]:10}{line(found['text'], MAX_TEXT)}" for found in summary["findings"]]
    return "\n".join([*rows, "", *(map(_wrap, findings) if findings else ["no repairs and no warnings"])])


def _wrap(text: str) -> str:
    return textwrap.fill(text, MAX_WIDTH, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)


def _check_output(output: str, source: str | None) -> None:
    """Reject a name without .parquet, a folder, and the source itself."""
    if not output.lower().endswith(".parquet"):
        raise _OptionError(
            f"--output {output}: is not the name of a Parquet file; the name must end in .parquet; "
            f"for example write clean.parquet"
        )
    if os.path.isdir(output):
        raise _OptionError(f"--output {output}: is a folder; the series is written to a file; give the file's path")
    path = os.path.expanduser(source or "")
    if os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path):
        raise _OptionError(f"--output {output}: is the source; the source is never overwritten; choose another name")


def _write(path: Path, prices: Prices) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"Date": pa.array(prices.dates)} | {
        name.capitalize(): pa.array(prices.column(name)) for name in prices.columns
    }
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    try:
        write_atomic(path, content.getvalue())
    except OSError as error:
        raise _OptionError(
            f"--output {path}: cannot be written ({line(error.strerror or error)}); its folder must exist and be "
            f"writable; check the path"
        ) from None
