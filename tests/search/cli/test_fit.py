"""A series that is too short: the options of the message and `--fit` make the same study, file by file."""

import shlex

import numpy as np
import pandas as pd
import pytest

from search.run import main


@pytest.fixture
def price_file(tmp_path):
    def write(sessions, name="kospi.csv"):
        closes = 2000 * np.exp(np.cumsum(0.01 * np.random.default_rng(0).normal(size=sessions)))
        table = pd.DataFrame(
            {
                "Open": closes,
                "High": 1.01 * closes,
                "Low": 0.99 * closes,
                "Close": closes,
                "Volume": 1000.0 + np.arange(sessions),
            },
            index=pd.bdate_range("2019-01-30", periods=sessions),
        )
        table.to_csv(tmp_path / name, index_label="Date")
        return tmp_path / name

    return write


def plan_of(capsys, code, *arguments):
    assert main([*map(str, arguments), "--dry-run"]) == code
    return capsys.readouterr()


@pytest.mark.parametrize("space", ["all", "gru", "gpu", "smoke"])
@pytest.mark.parametrize("sessions", [431, 150])
def test_the_options_that_the_message_names_work_and_fit_applies_them(price_file, capsys, tmp_path, space, sessions):
    study = (f"spaces/{space}.yaml", "--set", f"data.source={price_file(sessions)}", "--output", tmp_path)
    refused = plan_of(capsys, 2, *study)
    assert refused.out == ""
    (problem,) = refused.err.splitlines()
    _, _, line = problem.partition("add --fit, which does the same as ")
    pasted = plan_of(capsys, 0, *study, *shlex.split(line))
    fitted = plan_of(capsys, 0, *study, "--fit")
    assert pasted.err == ""
    assert f"{sessions} sessions, so --fit adds {line}" in fitted.err
    assert pasted.out == fitted.out
    assert f"{sessions} sessions" in fitted.out


def test_the_tutorial_fits_as_it_is(price_file, capsys, tmp_path):
    study = ("spaces/tutorial.yaml", "--set", f"data.source={price_file(431)}", "--output", tmp_path)
    assert plan_of(capsys, 0, *study) == plan_of(capsys, 0, *study, "--fit")


def test_each_file_of_a_study_gets_sizes_of_its_own(price_file, capsys, tmp_path):
    price_file(1500, "long.csv")
    price_file(300, "short.csv")
    shown = plan_of(
        capsys, 0, "spaces/gru.yaml", "--set", f"data.sources=['{tmp_path}/*.csv']", "--fit", "--output", tmp_path
    )
    lines = shown.out.splitlines()  # a line for each study, and the total
    assert lines[0].startswith(f"gru-long: {tmp_path / 'long.csv'}, 1,500 sessions to ")
    assert lines[1].startswith(f"gru-short: {tmp_path / 'short.csv'}, 300 sessions to ")
    assert "; 40 trials, 3 finalists; " in lines[0]
    assert lines[2].startswith("in total: 2 studies, one after another on one Ray; ")
    assert "of one CPU core, with the finalists" in lines[2]
    assert lines[3].startswith("start:    about 10 seconds until the first trial starts")
    assert len(lines) == 5
    assert "short.csv: 300 sessions, so --fit adds --set validation.fold_size=36" in shown.err
    assert "long.csv: 1500" not in shown.err


def test_a_series_that_no_sizes_fit_is_refused_with_fit_too(price_file, capsys):
    refused = plan_of(capsys, 2, "spaces/all.yaml", "--set", f"data.source={price_file(20)}",
                      "--set", "data.features=technical", "--fit")  # fmt: skip
    assert "; no smaller sizes fit either; use a longer series" in refused.err
    two = plan_of(capsys, 2, "spaces/smoke.yaml", "--set", f"data.source={price_file(2, 'two.csv')}")
    assert "two.csv: has 2 sessions, " in two.err
    assert "and a study needs hundreds; " in two.err
    assert two.err.count("\n") == 1


def test_a_resumed_study_keeps_its_sizes(tmp_path, capsys):
    assert main(["--resume", str(tmp_path), "--fit"]) == 2
    assert "conflicts with --fit; a study keeps its sizes" in capsys.readouterr().err
