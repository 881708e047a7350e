"""Escape hostile characters in text: control, bidirectional and zero-width characters, and markup."""

import csv
import html
import io
import json
import re
import shutil
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search import leaderboard, run
from search.common.messages import one_line
from search.report import writer as report
from search.results.event_log import read_events
from search.results.predictions import SCHEMA, read_predictions
from stockrnn.io.files import escape_invisible, line

UNSEEN = [
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)),  # bidirectional
    *map(chr, (0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD, 0x34F, 0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800, 0x180E)),
    *map(chr, (0, 7, 8, 0x1B, 0x1C, 0x1F, 0x7F, 0x80, 0x9B, 0x9F, 0xD800, 0xE000, 0xE0041, 0xE0100)),
]
SEEN = [
    "한국어 종가", "ﾊﾝｶｸ", "e\u0301 é ñ", "٠١٢ עברית", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "❤️‍🔥", "👩🏽‍🚀", "☂️", "🇰🇷", "x²",
    "naïve—“q”", "\\u202e",
]  # fmt: skip
EVIL = "\u202e\u2066\u200b\u200d\x1b[2J\x07\ufeff\u061c"
MARKUP = "<b>bold</b><a href='https://x.example'>a</a>&lt;![i](https://x.example)`c`|d\\|e"
NAME = f"m{EVIL}{MARKUP}"


@pytest.mark.parametrize("letter", UNSEEN, ids=ascii)
def test_what_cannot_be_seen_is_shown_as_an_escape(letter):
    number = ord(letter)
    escape = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    assert escape_invisible(f"a{letter}b") == f"a{escape}b"
    for text in (line(f"a{letter}b"), one_line(f"a{letter}b")):
        assert text == f"a{escape}b"


@pytest.mark.parametrize("text", SEEN)
def test_letters_accents_and_emoji_stay_as_they_are(text):
    assert escape_invisible(text) == line(text) == one_line(text) == text


def test_a_joiner_stays_within_an_emoji_only():
    assert escape_invisible("a\u200db") == "a\\u200db"
    assert escape_invisible("क\u094d\u200dष") == "क\u094d\\u200dष"
    assert escape_invisible("\u200d👩") == "\\u200d👩"
    assert escape_invisible("👩\u200d") == "👩\\u200d"
    assert escape_invisible("👩\u200d\u200d💻") == "👩\\u200d\\u200d💻"


def test_every_character_is_seen_kept_or_escaped_and_a_second_time_changes_nothing():
    for number in (*range(0x3000), *range(0xD7A0, 0x10000), *range(0x1F000, 0x20000), *range(0xE0000, 0xE1000)):
        text = escape_invisible(f"a{chr(number)}b")
        assert all(unicodedata.category(letter)[0] != "C" or letter in "\n\t" for letter in text), hex(number)
        assert escape_invisible(text) == text
        assert line(text).isprintable()


def test_a_line_has_a_bound_and_says_that_it_was_cut():
    assert line("x" * 200) == "x" * 200
    for text in ("x" * 201, "\u202e" * 1000, " x" * 10**6, "👩🏽\u200d" * 10**5):
        assert len(line(text)) == 200
        assert line(text).endswith("...")
    assert line(" a\r\n\tb\u2028c\u3000d ") == "a b c d"
    assert escape_invisible("a\r\nb\tc\rd") == "a\nb\tc\\x0dd"


@pytest.fixture
def study(finished, tmp_path):
    """A whole study in which every text that may be one is hostile."""
    folder = Path(shutil.copytree(finished, tmp_path / f"s{EVIL}<b>"))
    lines = list(read_events(folder / "trials.jsonl"))
    point = {"architecture": NAME, "head": NAME, "evil": NAME}
    more = []
    for number in range(9):
        own = {"trial_id": f"{number}{NAME}"[:200], "point": point | {"evil": f"{NAME}{number % 3}"}}
        more += [line | own for line in lines]
        more[-1] |= {"message": f"{NAME}\r\nnext", "traceback": NAME, "status": ("complete", "failed")[number == 8]}
        more[-1]["scores"] = {name: (value or 0) + number / 9 for name, value in more[-1]["scores"].items()}
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in more))
    manifest = json.loads((folder / "manifest.json").read_text())
    ids = [line["trial_id"] for line in more if line["event"] == "end"]
    scores = next(iter(manifest["baselines"].values()))
    tested = {name: {"test_relative_loss": 1.0, "test_rmse": 1.0} for name in ids[:2]}
    manifest |= {
        "name": NAME, "command": NAME, "host": NAME, "platform": NAME, "verdict": NAME,
        "versions": {"python": NAME, NAME: NAME}, "defaults": {"evil": NAME}, "end": manifest["start"],
        "proof": {"reasons": {"spa_p": NAME}}, "baselines": manifest["baselines"] | {f"b{NAME}"[:200]: scores},
        "test_openings": [{
            "time": manifest["start"], "ranked_by": NAME, "trials": 9, "scores": tested,
            "finalists": [{"trial_id": name, "point": point, "rank": 1} for name in ids[:2]],
            "reasons": {ids[0]: {"test_dm_p": NAME}},
        }],
        "resumes": [{"time": manifest["start"], "command": NAME, "trials": 1, "changes": [NAME]}],
    }  # fmt: skip
    manifest["data"] |= {"source": NAME, "findings": [{"check": NAME, "severity": NAME, "text": NAME}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    table = read_predictions(folder / "predictions.parquet")
    days = [table.set_column(0, "trial_id", pa.array([name] * len(table))) for name in ids]
    block = [
        day.set_column(1, "split", pa.array(["test"] * len(day))).set_column(4, "forecast", day["actual"])
        for day in days[:2]
    ]
    pq.write_table(pa.concat_tables([*days, *block]).cast(SCHEMA), folder / "predictions.parquet/part-00000.parquet")
    leaderboard_rows = [
        {"rank": number, "trial_id": name, "status": "complete", "architecture": NAME, "head": NAME, "hidden_size": 4,
         "num_layers": 1, "sequence_length": 5, "val_relative_loss": 1.0}
        for number, name in enumerate(ids)
    ]  # fmt: skip
    with (folder / "leaderboard.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*leaderboard_rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(leaderboard_rows)
    return folder


def resume(places):
    return run.main(["--resume", *places])


def assert_seen(text):
    """Nothing in it is hidden, and the hostile name is."""
    hidden = {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs") and letter not in "\n\t"}
    assert not hidden, sorted(map(hex, map(ord, hidden)))
    assert "\\u202e" in text
    assert "\\x1b" in text


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "json"])
def test_the_leaderboard_shows_what_is_hidden(study, capsys, form):
    for place in (study, study.parent):
        assert leaderboard.main([str(place), "--format", form]) == 0
        out, err = capsys.readouterr()
        assert_seen(re.sub(r"\\u001b", r"\\x1b", out) if form == "json" else out)
        assert err == ""
    assert leaderboard.main([str(study), "--format", form]) == 0
    out = capsys.readouterr().out
    if form == "json":
        assert any(row["trial_id"].startswith(f"0{NAME}"[:60]) for row in json.loads(out))  # data as it is
    if form == "csv":
        assert {len(row) for row in csv.reader(io.StringIO(out))} == {out.partition("\n")[0].count(",") + 1}


def test_a_markdown_table_is_a_table_of_texts(study, capsys):
    assert leaderboard.main([str(study), "--format", "markdown", "--columns", "rank,trial_id,architecture"]) == 0
    rows = capsys.readouterr().out.splitlines()
    for row in rows:
        cells = re.split(r"(?<!\\)(?:\\\\)*\|", row)
        assert len(cells) == 5, row
    body = "\n".join(rows[2:])
    assert not set("<>") & set(body)
    assert not re.search(r"&(?!amp;|lt;|gt;)", body)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`\[\]*~]", body)


def figures(page):
    """Every text of a page's charts, by its key."""
    data = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])

    def texts(value, key=""):
        if isinstance(value, str):
            yield key, value
        for name, item in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            yield from texts(item, name if isinstance(name, str) else key)

    return list(texts(data))


def written(page):
    """A page without plotly's own script."""
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_a_report_shows_what_is_hidden_and_no_text_is_markup(study, capsys):
    assert report.main([str(study)]) == 0
    page = (study / "report.html").read_text(encoding="utf-8")
    assert_seen(written(page))
    assert not re.search(r"<b>|<a href='", written(page))
    assert html.escape("<b>bold</b>") in page
    found = figures(page)
    assert [text for _, text in found if "bold" in text], "the charts show names"
    for key, text in found:
        assert "<b>" not in text, (key, text)
        assert "<a" not in text, (key, text)
    assert_seen("".join(text for _, text in found))


def test_a_comparison_shows_what_is_hidden(study, tmp_path, capsys):
    output = tmp_path / "both.html"
    assert report.main([str(study), str(study), "--output", str(output)]) == 0
    page = output.read_text(encoding="utf-8")
    assert_seen(written(page))
    assert not re.search(r"<b>|<a href='", written(page))
    assert not [text for _, text in figures(page) if "<b>" in text or "<a" in text]


@pytest.mark.parametrize(
    ("command", "name"),
    [(leaderboard.main, "manifest.json"), (leaderboard.main, "trials.jsonl"), (leaderboard.main, "space.yaml"),
     (report.main, "manifest.json"), (report.main, "trials.jsonl"), (resume, "trials.jsonl"), (resume, "space.yaml")],
)  # fmt: skip
def test_an_error_shows_what_is_hidden(study, capsys, command, name):
    (study / name).write_text(json.dumps({"event": NAME, "space": NAME, "end": NAME}) + "\n")
    assert command([str(study)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(line.isprintable() for line in err.splitlines())
    assert "\\u202e" in err
