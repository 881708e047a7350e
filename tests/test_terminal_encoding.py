"""Print Korean paths with every command where the terminal's encoding has no Korean letters."""

import io
import sys

import pytest

import search.leaderboard
import search.report.writer
import search.run
import stockrnn.forecast
import stockrnn.prices.inspection

ROWS = "Date,Open,High,Low,Close\n2019-01-02,10,12,9,11\n2019-01-03,11,13,10,12\n"
COMMANDS = {
    "prices": (stockrnn.prices.inspection.main, ["PATH"], 0),
    "no prices": (stockrnn.prices.inspection.main, ["PATH.gone"], 2),
    "forecast": (stockrnn.forecast.main, ["PATH"], 2),
    "leaderboard": (search.leaderboard.main, ["PATH"], 2),
    "report": (search.report.writer.main, ["PATH"], 2),
    "run": (search.run.main, ["PATH"], 2),
}


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_letter_that_the_terminal_lacks_is_printed_as_an_escape(command, encoding, tmp_path, monkeypatch):
    path = tmp_path / "삼성전자.csv"
    path.write_text(ROWS, encoding="utf-8")
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    main, arguments, code = COMMANDS[command]
    assert main([argument.replace("PATH", str(path)) for argument in arguments]) == code
    shown = b""
    for stream in streams.values():
        stream.flush()
        shown += stream.buffer.getvalue()
    assert rb"\uc0bc\uc131\uc804\uc790.csv" in shown
    assert b"Traceback" not in shown
