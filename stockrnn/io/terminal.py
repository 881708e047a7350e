"""Make the standard streams print every text, whatever the encoding of the terminal or pipe."""

import io
import sys

__all__ = ["escape_unencodable"]


def escape_unencodable() -> None:
    r"""Print characters that the encoding of stdout or stderr lacks as escapes such as `\uc790`.

    Every command calls this first: otherwise a Korean path in a cp1252 terminal ends the command with a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
