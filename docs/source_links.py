"""Show links to source files as plain text in the site, which contains no source code (an MkDocs hook)."""

import re

SOURCE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:search|stockrnn|tests|benchmarks|spaces)\b[^)]*\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the page with the text of such links in their place."""
    return SOURCE.sub(r"\1", markdown)
