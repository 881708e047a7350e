"""`trials.jsonl`: what is written, and what is read back."""

import json
import math

from search.manifest import write_manifest
from search.record import Record, cut_torn_line, read_ends, read_events

SCORES = {"val_theils_u": 0.9, "val_direction_accuracy": math.nan}


def report(epoch, **more):
    return {
        "epoch": epoch, "status": "running", "score": 0.9, "best_epoch": 1, "best": SCORES, "scores": SCORES,
        "loss": 1.0, "parameters": 17, "seconds": 0.5, "worker": 1, **more,
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
    assert lines[1]["scores"] == {"val_theils_u": 0.9, "val_direction_accuracy": None}  # unknown is null
    assert lines[3]["point"] == {"architecture": "gru"}
    assert (lines[3]["epochs"], lines[3]["best_epoch"], lines[3]["parameters"]) == (2, 1, 17)


def test_what_was_written_is_read_back(tmp_path):
    record = Record(tmp_path / "trials.jsonl")
    for number, status in enumerate(("stopped", "failed", "diverged")):
        record.start(f"{number:05d}", {"hidden_size": number})
        record.epoch(f"{number:05d}", report(1, best={"val_theils_u": 0.9}))
        record.end(f"{number:05d}", status, "out of memory" if status == "failed" else None)
    record.close()
    assert read_ends(tmp_path / "trials.jsonl") == record.ends
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
    assert [end.status for end in read_ends(path)] == ["interrupted"]
    record = Record(path, read_events(path))
    assert record.ends == []  # it has not ended
    record.start("00000", {"hidden_size": 4})
    record.epoch("00000", report(2))  # from a checkpoint before it
    record.epoch("00000", report(3))
    record.end("00000", "complete")
    record.close()
    lines = [(line["event"], line.get("epoch")) for line in read_events(path)]
    assert lines == [("start", None), ("epoch", 1), ("epoch", 2), ("interrupted", None), ("epoch", 3), ("end", None)]
    assert [(end.status, end.epochs) for end in read_ends(path)] == [("complete", 3)]


def test_a_torn_last_line_is_cut_and_a_whole_file_is_not(tmp_path):
    path = tmp_path / "trials.jsonl"
    assert cut_torn_line(path) == 0
    path.write_bytes(b'{"a": 1}\n{"b"')
    assert (cut_torn_line(path), cut_torn_line(path)) == (4, 0)
    assert path.read_bytes() == b'{"a": 1}\n'
