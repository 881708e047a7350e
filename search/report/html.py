"""Render a template with charts to one self-contained HTML file that loads nothing from the network.

The file contains plotly.js once, from the plotly package. The content security policy of the page allows plotly.js and
the scripts of this package, by their hashes, and nothing else.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search.common.text import Text, translate
from search.report.charts.base import Chart, to_script_json
from stockrnn.io.files import escape_invisible, write_atomic

__all__ = ["write_page"]

TEMPLATES = Path(__file__).parent / "templates"


def write_page(
    path: Path, template: str, charts: Sequence[Chart | None], language: str = "en", **variables: Any
) -> Path:
    """Render a template to a file, which is replaced atomically.

    Args:
        path: the file.
        template: its name in `templates/`.
        charts: the charts of the page; None for a chart without data.
        language: of the page, one of `search.common.text.LANGUAGES`.
        variables: the variables of the template.
    """
    drawn = [chart for chart in charts if chart is not None]
    library, script = (_read_plotly_js(), _read_template("report.js.j2")) if drawn else ("", "")
    board = _read_template("board.js.j2")
    page = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=lambda value: _show_invisible(_write(value, language)),
    )  # fmt: skip
    page.globals["_"] = lambda template, **values: translate(Text(template, **values), language)
    page.filters["moment"] = _format_time
    html = page.get_template(template).render(
        style=Markup(_read_template("report.css.j2")),
        library=Markup(library),
        script=Markup(script),
        board_script=Markup(board),
        policy=_build_policy(board, library, script),
        figures=to_script_json(translate([chart.figure for chart in drawn], language)),
        language=language,
        **variables,
    )
    write_atomic(path, html.encode(errors="replace"))
    return path


def _format_time(time: str | None) -> str:
    return f"{time[:19].replace('T', ' ')} UTC" if time else "?"


def _write(value: Any, language: str) -> Any:
    """Return a text, or sentences, in the language of the page."""
    if isinstance(value, list | tuple) and all(isinstance(one, Text) for one in value):
        return " ".join(translate(value, language))
    return translate(value, language) if isinstance(value, Text) else value


def _show_invisible(value: Any) -> Any:
    """Make the invisible characters of a text visible; markup comes from this package, where they already are."""
    return escape_invisible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read_template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _read_plotly_js() -> str:
    """Return plotly.js, escaped so that it does not end the script element."""
    from plotly.offline import get_plotlyjs  # a study without any chart does not need it

    library = str(get_plotlyjs()).replace("\r\n", "\n")
    return library.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _build_policy(*scripts: str) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts if script)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
