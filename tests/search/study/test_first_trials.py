"""Run the first trials of a study: the default configuration, and the points of a warm start."""

import json
import shutil
from functools import partial

import pytest

import search
from search.compare import find_difference
from search.results.manifest import find_scored_opening
from search.results.predictions import EARLIER, read_forecasts
from search.results.reader import read_study
from search.results.warm_start import read_warm_start
from search.run import main
from search.space.space import load_space
from search.study.in_process_executor import in_process_executor
from search.study.study import Options, run_study
from stockrnn.dataset.alignment import prepare
from tests.search.study.test_in_process_executor import formula

WIDE = {"architecture": ["rnn", "gru", "lstm"], "hidden_size": {"int": [4, 32]}, "sequence_length": [3, 5]}
RUNGS = {"max_epochs": 9, "grace_period": 1}


def run(space, folder, **options):
    prices = prepare(space.data)
    splits = space.split(prices)
    warm_start = None if options.get("resume") else read_warm_start(space, prices, splits)
    if warm_start:
        space = space.with_warm_points(warm_start.points)
    executor = partial(in_process_executor, train=formula)
    return run_study(
        space, prices, splits,
        Options(folder=folder, command="test", executor=executor, quiet=True, warm_start=warm_start, **options),
    )  # fmt: skip


def cut(folder, copy, lines):
    """Copy a study as a kill after so many lines of its event log leaves it."""
    shutil.copytree(folder, copy)
    log = (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "trials.jsonl").write_bytes(b"".join(log[:lines]))
    return copy


def ends(folder):
    return read_study(folder).log.finished


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
@pytest.mark.parametrize("outside", [True, False])
def test_the_default_configuration_is_the_first_trial_of_every_sampler(small_space, tmp_path, sampler, outside):
    """The formula prefers small networks, so ASHA would stop the default, which has 16 units."""
    space = small_space(
        space={"architecture": ["gru", "lstm"], "hidden_size": {"int": [4, 8 if outside else 16]}, "dropout": 0.1},
        search={"sampler": sampler, "finalists": 0, "num_samples": 8}, scheduler=RUNGS, resources={"workers": 2},
    )  # fmt: skip
    outcome = run(space, tmp_path / "study")
    by_id = {end.trial_id: end for end in ends(tmp_path / "study")}
    assert len(by_id) == 8
    assert by_id["00000"].point == {"architecture": "gru", "hidden_size": 16, "dropout": 0.1}
    assert (by_id["00000"].status, by_id["00000"].epochs) == ("default", 9)
    assert "stopped" in {end.status for end in by_id.values()}
    assert {end.status for end in by_id.values()} <= {"default", "complete", "stopped"}
    assert not any(space.is_default(end.point) for trial_id, end in by_id.items() if trial_id != "00000")
    assert [row["trial_id"] for row in outcome.rows if row["status"] == "default"] == ["00000"]
    assert "The search improved on the default configuration" in outcome.verdict


def test_one_trial_is_the_default_configuration(small_space, tmp_path):
    space = small_space(search={"num_samples": 1, "finalists": 0})
    run(space, tmp_path / "study")
    (end,) = ends(tmp_path / "study")
    assert (end.status, end.point) == ("default", space.default_point)


def test_the_only_point_of_a_space_is_not_run_twice(small_space, tmp_path):
    space = small_space(space={"architecture": "gru", "hidden_size": 4}, search={"num_samples": None, "finalists": 0})
    assert space.num_samples == 1
    run(space, tmp_path / "study")
    assert [(end.status, end.point["hidden_size"]) for end in ends(tmp_path / "study")] == [("default", 4)]


def test_the_grid_has_the_default_configuration_as_well(small_space, tmp_path):
    grid = {"sampler": "grid", "num_samples": None, "finalists": 0}
    space = small_space(space={"architecture": ["rnn", "gru"], "hidden_size": [4, 8]}, search=grid)
    run(space, tmp_path / "study")
    points = [tuple(end.point.values()) for end in ends(tmp_path / "study")]
    assert points == [("rnn", 16), ("rnn", 4), ("rnn", 8), ("gru", 4), ("gru", 8)]


def test_the_default_configuration_can_be_a_finalist(small_space, tmp_path):
    space = small_space(search={"num_samples": 1, "finalists": 1, "finalist_seeds": 1})
    assert main([space.document.path, "--output", str(tmp_path), "--in-process", "--quiet"]) == 0
    assert "00000" in find_scored_opening(manifest(tmp_path / "small"))["scores"]


@pytest.mark.parametrize("lines", [0, 1, 4, 12, 31])
def test_a_killed_study_has_the_default_configuration_once(small_space, tmp_path, lines):
    space = small_space(
        search={"sampler": "tpe", "finalists": 0, "num_samples": 8}, scheduler=RUNGS, resources={"workers": 2}
    )
    run(space, tmp_path / "whole")
    killed = cut(tmp_path / "whole", tmp_path / "killed", lines)
    run(space, killed, resume=True)
    assert find_difference(read_study(tmp_path / "whole"), read_study(killed)) is None
    assert [end.status for end in ends(killed)].count("default") == 1


def start_warm(small_space, tmp_path, **changes):
    """Run a study, and return the space of another one that starts from it."""
    settings = {"sampler": "tpe", "finalists": 0, "num_samples": 8}
    old = small_space(space=WIDE, search=settings, resources={"workers": 2})
    run(old, tmp_path / "old")
    settings["warm_start"] = {"study": str(tmp_path / "old"), "top": 3}
    return small_space(**{"space": WIDE, "search": settings, "seed": 1, "resources": {"workers": 2}} | changes)


@pytest.mark.parametrize("lines", [0, 3, 9, 25])
def test_a_warm_start_tries_the_best_points_first_and_needs_the_old_study_no_more(small_space, tmp_path, lines):
    space = start_warm(small_space, tmp_path)
    run(space, tmp_path / "new")
    best = [trial.point for trial in read_study(tmp_path / "old").scored if not space.is_default(trial.point)][:3]
    by_id = {end.trial_id: end.point for end in ends(tmp_path / "new")}
    assert [by_id[f"{number:05d}"] for number in range(4)] == [space.default_point, *best]
    shutil.rmtree(tmp_path / "old")

    killed = cut(tmp_path / "new", tmp_path / "killed", lines)
    run(load_space(str(killed / "space.yaml")), killed, resume=True)
    assert find_difference(read_study(tmp_path / "new"), read_study(killed)) is None
    run(load_space(str(tmp_path / "new" / "space.yaml")), tmp_path / "again")
    assert find_difference(read_study(tmp_path / "new"), read_study(tmp_path / "again")) is None
    assert manifest(killed)["proof"]["earlier_trials"] == 8
    assert manifest(tmp_path / "again")["warm_start"]["found"] is False


def test_the_trials_of_the_same_days_are_counted(small_space, tmp_path):
    space = start_warm(small_space, tmp_path)
    run(space, tmp_path / "new")
    found = manifest(tmp_path / "new")
    assert sorted(found["warm_start"]["trials"]) == [f"{number:05d}" for number in range(8)]
    assert (found["warm_start"]["counted"], found["warm_start"]["days"]) == (8, 60)
    assert (found["proof"]["trials"], found["proof"]["earlier_trials"]) == (8, 8)


def test_what_an_earlier_study_has_counted_is_counted_again(small_space, tmp_path):
    space = start_warm(small_space, tmp_path)
    run(space, tmp_path / "new")
    settings = {"sampler": "tpe", "finalists": 0, "num_samples": 8, "warm_start": str(tmp_path / "new")}
    run(small_space(space=WIDE, search=settings), tmp_path / "newest")
    assert manifest(tmp_path / "newest")["proof"]["earlier_trials"] == 16


def test_a_part_of_the_days_is_counted_as_a_part(small_space, tmp_path):
    """The first of two folds is a fold of the earlier study as well."""
    space = start_warm(small_space, tmp_path, data={"source": "nasdaq", "test_size": 10})
    with pytest.raises(search.UserError, match="days of this study's test set"):
        run(start_warm(small_space, tmp_path / "a", data={"source": "nasdaq", "test_size": 70}), tmp_path / "a" / "no")
    run(space, tmp_path / "new")
    assert manifest(tmp_path / "new")["warm_start"]["days"] == 30
    days = read_forecasts(tmp_path / "new" / "predictions.parquet", EARLIER)
    assert {len(own["date"]) for own in days.values()} == {30}


def test_another_market_is_not_counted(small_space, tmp_path):
    space = start_warm(small_space, tmp_path, data={"source": "sp500", "test_size": 40})
    run(space, tmp_path / "new")
    found = manifest(tmp_path / "new")
    assert len(found["warm_start"]["tried"]) == 3
    assert (found["warm_start"]["days"], found["proof"]["earlier_trials"]) == (0, 0)


def test_configurations_that_do_not_fit_are_named(small_space, tmp_path):
    space = start_warm(small_space, tmp_path, space={**WIDE, "hidden_size": {"int": [4, 12]}})
    prices = prepare(space.data)
    found = read_warm_start(space, prices, space.split(prices))
    assert all(4 <= point["hidden_size"] <= 12 for point in found.points)
    narrow = start_warm(small_space, tmp_path / "b", space={"architecture": ["gru"], "batch_size": [100, 200]})
    with pytest.raises(search.UserError) as error:
        read_warm_start(narrow, prices, narrow.split(prices))
    (line,) = str(error.value).split("\n")
    assert "search.warm_start" in line
    assert "none of its 8 configurations fits this space: 0000" in line
    assert "batch_size is 64, outside of its domain" in line


def test_bad_studies_are_one_line(small_space, tmp_path):
    space = start_warm(small_space, tmp_path)
    prices = prepare(space.data)

    def refused():
        with pytest.raises(search.UserError) as error:
            read_warm_start(space, prices, space.split(prices))
        assert "\n" not in str(error.value)
        return str(error.value)

    log = (tmp_path / "old" / "trials.jsonl").read_bytes()
    (tmp_path / "old" / "trials.jsonl").write_bytes(b"{}\n" + log)
    assert "is no event of a trial" in refused()
    (tmp_path / "old" / "trials.jsonl").unlink()
    assert "no trial has a score" in refused()
    (tmp_path / "old" / "trials.jsonl").symlink_to("/etc/passwd")
    assert "link" in refused()
    shutil.rmtree(tmp_path / "old")
    assert "not a study, because manifest.json is missing" in refused()


def test_the_command_line_shows_the_points_before_it_starts(small_space, space_file, tmp_path, capsys):
    start_warm(small_space, tmp_path)
    path = space_file(space=WIDE, search={"finalists": 0})
    options = ["--warm-start", str(tmp_path / "old"), "--output", str(tmp_path), "--dry-run"]
    assert main([str(path), *options]) == 0
    shown = capsys.readouterr()
    assert "points: [{architecture: " in shown.out
    assert f"warm start: 5 configurations of {tmp_path / 'old'} (" in shown.err
    assert "the significance tests include 8 earlier trials" in shown.err
