"""The command line of a series of prices: `python -m stockrnn.prices SOURCE` shows what is in it and what is wrong."""

import argparse
import io
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockrnn.errors import UserError
from stockrnn.files import line, write_whole
from stockrnn.series import PriceError, Prices

if TYPE_CHECKING:
    from stockrnn.configuration import SourceConfig

__all__ = ["main"]

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130
COLUMNS = 80
LONGEST = 10_000  # characters of a text that is shown
EXAMPLES = """\
examples:
  python -m stockrnn.prices kospi.csv
  python -m stockrnn.prices bourse.csv --date-format %d/%m/%Y --calendar XPAR
  python -m stockrnn.prices --ticker ^KS11 --start 2010-01-01 --output kospi.parquet
      what `data: {source: kospi.parquet}` then reads

exit codes: 0 done, 2 wrong input, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.output is not None:
            _check_output(options.output, options.source)
        prices, exchange = _inspected(options)
        found = _described(prices, exchange)
        if options.output is not None:
            _write(Path(options.output), prices)
    except (PriceError, _OptionError) as error:
        print(line(error, LONGEST), file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        print(
            json.dumps(found, indent=2, allow_nan=False) if options.json else _text(found, options.output), flush=True
        )
    except BrokenPipeError:  # whoever reads has seen enough; Python would complain once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


class _OptionError(UserError):
    """A wrong option, in one line."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stockrnn.prices",
        description="Read daily prices, check and clean them, and show what was found.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("source", nargs="?", metavar="SOURCE", help="nasdaq, sp500, or the path of a CSV or Parquet file")
    add("--ticker", metavar="T", help="Yahoo's symbol, in place of SOURCE")
    add("--start", metavar="DAY", help="the first day used, YYYY-MM-DD")
    add("--end", metavar="DAY", help="the last day used, YYYY-MM-DD")
    add("--no-adjust", action="store_true", help="Yahoo's prices not adjusted for dividends")
    add("--date-format", metavar="FORMAT", help="how the file writes dates, as in %%d/%%m/%%Y")
    add("--cache", metavar="FOLDER", type=Path, help="where downloads are kept")
    add("--offline", action="store_true", help="only what the cache holds")
    add("--refresh", action="store_true", help="download anew, whatever the cache holds")
    add("--calendar", metavar="CODE", help="the exchange whose sessions to compare, as XKRX (default: the ticker's)")
    add("--output", metavar="FILE", help="write the clean series as Parquet, which is a SOURCE again")
    add("--json", action="store_true", help="print one JSON object")
    return parser


def _inspected(options: argparse.Namespace) -> tuple[Prices, str | None]:
    """The clean series, with all findings, and the exchange it was compared with."""
    from stockrnn.calendars import against_calendar, exchange_of, installed
    from stockrnn.prices import Access, load
    from stockrnn.quality import clean
    from stockrnn.sources import SHIPPED, YAHOO

    if (options.source is None) == (options.ticker is None):
        raise _OptionError(
            "python -m stockrnn.prices: takes a SOURCE or a --ticker; one of them names the prices; write nasdaq, say"
        )
    if options.offline and options.refresh:
        raise _OptionError(
            "--offline, --refresh: exclude each other; one downloads nothing, the other always; drop one"
        )
    config = _config(options, YAHOO)
    access = Access(cache=options.cache, offline=options.offline, refresh=options.refresh)
    prices = clean(load(config, access))
    exchange = options.calendar
    if exchange is None and installed():
        exchange = exchange_of(config.ticker or ("^GSPC" if config.source in SHIPPED else ""))
    if exchange is None:
        return prices, None
    prices = prices.noting(*against_calendar(prices, exchange))
    return prices, exchange if installed() else f"{exchange}: not consulted; pip install exchange_calendars"


def _config(options: argparse.Namespace, yahoo: str) -> "SourceConfig":
    from pydantic import ValidationError

    from stockrnn.configuration import SourceConfig

    given = {"start": options.start, "end": options.end, "date_format": options.date_format, "ticker": options.ticker}
    try:
        return SourceConfig.model_validate(
            {"source": yahoo if options.source is None else options.source, "adjust": not options.no_adjust, **given}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "source"
        option = "SOURCE" if name == "source" else f"--{name.replace('_', '-')}"
        what = str(first["msg"]).removeprefix("Value error, ")
        raise _OptionError(f"{option} {given.get(name, options.source)!s}: {what}") from None


def _described(prices: Prices, exchange: str | None) -> dict[str, Any]:
    """All that is printed. Returns are simple ones, close over the previous close minus 1."""
    from stockrnn.quality import usable_volume

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
        "volume_unusable": usable_volume(prices),
        "calendar": exchange,
        "sha256": provenance.sha256,
        "findings": [asdict(finding) for finding in prices.findings],
    }


def _text(found: dict[str, Any], output: str | None) -> str:
    """What is printed, at most COLUMNS wide where names are not longer."""
    change, gap, sd = found["daily_return"], found["longest_gap"], found["daily_return"]["sd"]
    low, high = (f"{100 * one['value']:+.3g} % on {one['date']}" for one in (change["min"], change["max"]))
    spread = "" if sd is None else f", sd {100 * sd:.3g} %"
    rows = {
        "source": line(found["source"], LONGEST),
        "fetched": found["fetched"],
        "sessions": f"{found['sessions']:,}, {found['start']} to {found['end']}",
        "columns": ", ".join(found["columns"]),
        "first close": f"{found['first_close']:,.10g}",
        "last close": f"{found['last_close']:,.10g}",
        "daily return": f"mean {100 * change['mean']:+.3g} %{spread}",
        "lowest": low,
        "highest": high,
        "longest gap": f"{gap['days']} days, {gap['from']} to {gap['to']}",
        "calendar": found["calendar"],
        "sha256": found["sha256"],
        "written": output,
    }
    shown = [f"{name:14}{value}" for name, value in rows.items() if value is not None]
    kinds = {"repair": "repaired", "warning": "look at"}
    notes = [f"{kinds[one['severity']]:10}{line(one['text'], LONGEST)}" for one in found["findings"]]
    return "\n".join([*shown, "", *(map(_filled, notes) if notes else ["nothing to mend, nothing to look at"])])


def _filled(text: str) -> str:
    return textwrap.fill(text, COLUMNS, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)


def _check_output(output: str, source: str | None) -> None:
    """Refuse what would destroy the source, or be no Parquet file by its name."""
    if not output.lower().endswith(".parquet"):
        raise _OptionError(f"--output {output}: is no name of a Parquet file; it ends in .parquet; write clean.parquet")
    if os.path.isdir(output):
        raise _OptionError(f"--output {output}: is a folder; a series is one file; give the file's path")
    path = os.path.expanduser(source or "")
    if os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path):
        raise _OptionError(f"--output {output}: is the source; it stays as it is; choose another name")


def _write(path: Path, prices: Prices) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"Date": pa.array(prices.dates)} | {
        name.capitalize(): pa.array(prices.column(name)) for name in prices.columns
    }
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        raise _OptionError(
            f"--output {path}: cannot be written ({line(error.strerror or error)}); its folder exists and may be "
            f"written to; check the path"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
