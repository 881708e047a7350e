"""Write and read `trials.jsonl`, also damaged, torn or very long files."""

import json
import math
import os
import re
import shutil
from unittest.mock import ANY as ANYTHING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.common.errors import DamagedError
from search.leaderboard import main as leaderboard
from search.report.writer import main as report_on
from search.results.event_log import STATUSES, Record, cut_torn_line, now, read_events, read_log
from search.results.leaderboard import write_csv
from search.results.manifest import write_manifest
from search.results.reader import read_study
from search.results.resume import read_resume_state
from search.results.schemas import read_manifest
from stockrnn.tasks.price import METRICS

SCORES = {"val_relative_loss": 0.9, "val_direction_accuracy": math.nan}


def report(epoch, **more):
    return {
        "epoch": epoch, "status": "running", "done": False, "score": 0.9, "best_epoch": 1, "best": SCORES,
        "scores": SCORES, "loss": 1.0, "parameters": 17, "seconds": 0.5, "worker": 1, **more,
    }  # fmt: skip


def test_every_epoch_and_every_end_is_one_line_at_once(tmp_path):
    path = tmp_path / "trials.jsonl"
    record = Record(path)
    record.start("00000", {"architecture": "gru"})
    record.epoch("00000", report(1))
    assert len(path.read_text().splitlines()) == 2  # written before the trial ends
    record.epoch("00000", report(2))
    record.end("00000", "complete")
    record.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "epoch", "epoch", "end"]
    assert [line["trial_id"] for line in lines] == ["00000"] * 4
    assert lines[0]["point"] == {"architecture": "gru"}
    assert lines[1]["scores"] == {"val_relative_loss": 0.9, "val_direction_accuracy": None}  # unknown is null
    assert lines[3]["point"] == {"architecture": "gru"}
    assert (lines[3]["epochs"], lines[3]["best_epoch"], lines[3]["parameters"]) == (2, 1, 17)


def test_what_was_written_is_read_back(tmp_path):
    record = Record(tmp_path / "trials.jsonl")
    for number, status in enumerate(("stopped", "failed", "diverged")):
        record.start(f"{number:05d}", {"hidden_size": number})
        record.epoch(f"{number:05d}", report(1, best={"val_relative_loss": 0.9}))
        record.end(f"{number:05d}", status, "out of memory" if status == "failed" else None)
    record.close()
    assert read_log(tmp_path / "trials.jsonl").ends == record.ends
    assert record.ends[1].message == "out of memory"


def test_a_failure_keeps_its_message_and_its_epochs_but_no_score(tmp_path):
    record = Record(tmp_path / "trials.jsonl")
    record.start("00000", {})
    record.epoch("00000", report(3))
    record.epoch("00000", {"status": "failed", "message": "ValueError: no", "traceback": "Traceback ...", "done": True})
    end = record.end("00000", "failed")
    record.close()
    assert (end.epochs, end.message, end.scores, end.best_epoch) == (3, "ValueError: no", {}, None)
    assert json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[-1])["traceback"] == "Traceback ..."


def test_a_manifest_takes_any_number(tmp_path):
    write_manifest(tmp_path, {"scores": {"exploded": math.inf, "unknown": [math.nan, -math.inf, 1.5]}})
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written == {"scores": {"exploded": None, "unknown": [None, None, 1.5]}}


def test_a_trial_that_goes_on_has_one_start_and_each_epoch_once(tmp_path):
    path = tmp_path / "trials.jsonl"
    record = Record(path)
    record.start("00000", {"hidden_size": 4})
    record.epoch("00000", report(1))
    record.epoch("00000", report(2))
    record.end("00000", "interrupted")
    record.close()
    assert [end.status for end in read_log(path).ends] == ["interrupted"]
    record = Record(path, read_log(path))
    assert record.ends == []  # it has not ended
    record.start("00000", {"hidden_size": 4})
    record.epoch("00000", report(2))  # from a checkpoint before it
    record.epoch("00000", report(3))
    record.end("00000", "complete")
    record.close()
    lines = [(line["event"], line.get("epoch")) for line in read_events(path)]
    assert lines == [("start", None), ("epoch", 1), ("epoch", 2), ("interrupted", None), ("epoch", 3), ("end", None)]
    assert [(end.status, end.epochs) for end in read_log(path).ends] == [("complete", 3)]


def test_a_torn_last_line_is_cut_and_a_whole_file_is_not(tmp_path):
    path = tmp_path / "trials.jsonl"
    assert cut_torn_line(path) == 0
    path.write_bytes(b'{"a": 1}\n{"b"')
    assert (cut_torn_line(path), cut_torn_line(path)) == (4, 0)
    assert path.read_bytes() == b'{"a": 1}\n'


def test_a_message_and_a_traceback_of_any_length_are_read(tmp_path):
    record = Record(tmp_path / "trials.jsonl")
    record.start("00000", {})
    failed = {"status": "failed", "message": "\U0001f600\ud800" * 10**6, "traceback": "x\n" * 10**6 + "the end"}
    record.epoch("00000", failed)
    record.retry("00000", "y" * 10**7)
    record.end("00000", "failed")
    record.close()
    *_, last = read_events(tmp_path / "trials.jsonl")
    assert last["message"].startswith("\U0001f600?")
    assert last["traceback"].endswith("the end")


def test_a_record_ends_before_it_is_too_long_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("search.results.event_log.MAX_LOG_BYTES", 500)
    record = Record(tmp_path / "trials.jsonl")
    record.start("00000", {})
    record.epoch("00000", report(1))
    with pytest.raises(OSError, match="File too large"):
        record.epoch("00000", report(2))
    record.close()
    assert [event.get("epoch") for event in read_events(tmp_path / "trials.jsonl")] == [None, 1]


ANY = st.floats() | st.floats(1e100, 1e300) | st.sampled_from([1e150, -1e150, 1.1e150, 1e230, -1e230, 5e-324, -0.0])
SCORED = st.dictionaries(st.sampled_from(sorted(METRICS)), ANY, min_size=1)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_is_written_is_read(tmp_path, data):
    """Any float in any field: record, manifest and leaderboard are read, shown, and a study goes on from them."""
    draw = data.draw
    folder = tmp_path / "study"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "space.yaml").write_text("name: s\nspace: {architecture: gru, hidden_size: [4, 8]}\n")
    record = Record(folder / "trials.jsonl")
    for number in range(draw(st.integers(1, 3))):
        trial_id, scores = f"{number:05d}", draw(SCORED)
        record.start(trial_id, {"hidden_size": 4, "learning_rate": draw(st.floats(1e-9, 10))})
        record.epoch(trial_id, report(1, score=draw(ANY), best=scores, scores=draw(SCORED), loss=draw(ANY),
                                      seconds=draw(ANY)))  # fmt: skip
        record.end(trial_id, draw(st.sampled_from(STATUSES)), draw(st.none() | st.text(st.characters())))
    record.close()
    opening = {"time": now(), "trials": 1, "finalists": [{"trial_id": "00000", "point": {"learning_rate": draw(ANY)}}],
               "scores": {"00000": draw(SCORED)}, "ensemble": draw(SCORED), "reasons": {}}  # fmt: skip
    manifest = {
        "name": "s", "start": now(), "end": draw(st.sampled_from([None, now()])), "seconds": draw(ANY), "seed": 1,
        "command": "x", "versions": {}, "space": {"search": {"patience": draw(ANY)}}, "test": [], "folds": [],
        "baselines": {"persistence": draw(SCORED)}, "defaults": {"learning_rate": draw(ANY)},
        "data": {"source": "nasdaq"}, "test_openings": [opening],
        "proof": {"spa_p": draw(ANY), "pbo": draw(ANY), "test_spa_p": draw(ANY), "test_days": 3},
    }  # fmt: skip
    write_manifest(folder, manifest)
    study = read_study(folder)
    write_csv(folder / "leaderboard.csv", study.rows, study.columns)
    assert [end.trial_id for end in study.ends] == [end.trial_id for end in record.ends]
    assert all(value is None or abs(value) <= 1e150 for end in study.ends for value in end.scores.values())
    assert leaderboard([str(folder), "--format", "json"]) == 0
    assert report_on([str(folder)]) == 0
    begun = read_resume_state(folder)
    assert Record(folder / "trials.jsonl", begun.log).ends == begun.ends
    write_manifest(folder, {**begun.manifest, "end": now()})
    assert read_resume_state(folder).manifest == {**begun.manifest, "end": ANYTHING}


def test_a_number_that_is_too_large_is_told_so(tmp_path):
    path = tmp_path / "trials.jsonl"
    end = {"event": "end", "trial_id": "0", "time": now(), "status": "complete", "point": {}, "scores": {"val_rmse": 7}}
    for value, said in (
        (1e230, "val_rmse: 1e+230 is too large"),
        ('"x"', "is not a number"),
        ("[]", "is not a number"),
    ):
        path.write_text(json.dumps(end).replace("7}}", f"{value}}}}}") + "\n")
        with pytest.raises(DamagedError, match=re.escape(said)) as refusal:
            read_log(path)
        assert "not a boolean" not in str(refusal.value)
        assert "constrained" not in str(refusal.value)


def test_a_manifest_that_grows_stays_one_that_is_read(tmp_path):
    resumes = [{"time": now(), "command": "x" * 9000, "trials": 1, "changes": []}] * 900
    scores = {f"{number:05d}": {"test_rmse": 1.0} for number in range(100)}
    write_manifest(tmp_path, {"resumes": resumes, "test_openings": [{"time": now(), "scores": scores}] * 900})
    found = read_manifest(tmp_path / "manifest.json")
    assert (len(found["resumes"]), len(found["test_openings"])) == (900, 900)
    assert found["test_openings"][-1]["scores"] == scores


@pytest.mark.parametrize(
    ("content", "kept"),
    [(b"", 0), (b"a", 0), (b"a\n", 2), (b"a\nb", 2), (b"a\n" + b"b" * (3 << 20), 2), (b"b" * (3 << 20), 0)],
)
def test_what_follows_the_last_line_break_is_cut(tmp_path, content, kept):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(content)
    assert cut_torn_line(path) == len(content) - kept
    assert path.read_bytes() == content[:kept]


def test_a_file_that_is_too_large_is_refused_and_stays(tmp_path):
    path = tmp_path / "study.journal"
    path.touch()
    os.truncate(path, 10**11)  # sparse
    with pytest.raises(DamagedError, match="is larger than"):
        cut_torn_line(path)
    assert path.stat().st_size == 10**11
