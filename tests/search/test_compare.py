"""Compare two studies: one that repeats another, and others that differ in their inputs."""

import json

import pytest
from commands import call

from search import compare
from search.run import main

SHORT = {"search": {"num_samples": 3, "finalists": 1}, "scheduler": {"max_epochs": 2, "grace_period": 2}}


@pytest.fixture
def study(space_file, tmp_path):
    """Run the small space in this process: `study("name", "--seed", "1")` returns the folder."""

    def run(name, *options):
        path = space_file(**SHORT)
        assert main([str(path), "--in-process", "--quiet", "--output", str(tmp_path), "--name", name, *options]) == 0
        return tmp_path / name

    return run


def test_a_study_with_the_same_inputs_is_identical(study):
    first, again = study("first"), study("again")
    done = call(compare.main, first, again, "--replay")
    assert (done.returncode, done.stdout, done.stderr) == (0, "identical: 3 trials\n", "")
    digests = {json.loads((folder / "manifest.json").read_text())["trials_sha256"] for folder in (first, again)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--seed", "1"), "they differ in seed: 0 and 1"),
        (("--set", "search.num_samples=2"), "they differ in search.num_samples: 3 and 2"),
        (("--set", "data.source=sp500"), "they differ in prices"),
    ],
)  # fmt: skip
def test_the_first_difference_and_its_reasons_are_named(study, options, reason):
    done = call(compare.main, study("first"), study("other", *options), "--replay")
    first, *reasons = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith(("trial 0000", "end ", "one study has"))
    assert reason in reasons


def test_without_replay_the_best_trials_are_shown(study):
    first = study("first")
    done = call(compare.main, first, first)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [done.stdout.splitlines()[0]] * 2
    assert done.stdout.startswith(f"{first}: 3 trials; best: ")


def test_a_folder_without_a_study_is_one_line(study, tmp_path):
    done = call(compare.main, study("first"), tmp_path / "none", "--replay")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "none" in done.stderr
