"""Pages: a template, facts and charts as one self-contained HTML file that asks nothing of any network.

The plotting library stands in it once, as the plotly package brings it. The page's policy lets the browser run that
library and the page's own scripts, known by their hashes, and nothing else.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search.report.charts.base import Chart, script_json
from stockrnn.io.files import escape_invisible, write_atomic

__all__ = ["write_page"]

HERE = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, charts: Sequence[Chart | None], **facts: Any) -> Path:
    """Render a template to a file; a reader sees the old file or the new one.

    Args:
        path: the file.
        template: its name beside this module.
        charts: those that the page has; None for one without data.
        facts: what the template asks for.
    """
    drawn = [chart for chart in charts if chart is not None]
    library, script = (_library(), _text("report.js.j2")) if drawn else ("", "")
    board = _text("board.js.j2")
    page = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_visible,
    )  # fmt: skip
    page.filters["moment"] = lambda time: f"{time[:19].replace('T', ' ')} UTC" if time else "?"
    html = page.get_template(template).render(
        style=Markup(_text("report.css.j2")),
        library=Markup(library),
        script=Markup(script),
        board_script=Markup(board),
        policy=_policy(board, library, script),
        figures=script_json([chart.figure for chart in drawn]),
        **facts,
    )
    write_atomic(path, html.encode(errors="replace"))
    return path


def _visible(value: Any) -> Any:
    """Make unseen characters of a text visible; markup is this module's own, or a macro's whose texts were visible."""
    return escape_invisible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _library() -> str:
    """Plotly.js, with nothing in it that ends a script element."""
    from plotly.offline import get_plotlyjs  # a study that only fails needs none

    library = str(get_plotlyjs()).replace("\r\n", "\n")
    return library.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(*scripts: str) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts if script)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
