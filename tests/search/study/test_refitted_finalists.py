"""Forecast with the finalist of a study, train it on newer prices, and use the study's folder afterwards."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from search.api.study import open_study
from search.report.__main__ import main as report
from search.results.folder.links import check_folder
from search.run import main as search
from search.space.space import load_space
from search.study.in_process_executor import in_process_executor
from search.study.study import Options, run_study
from stockrnn.dataset.alignment import prepare
from stockrnn.forecast import main
from stockrnn.forecaster.forecaster import WEIGHTS, Forecaster
from stockrnn.prices.series import Prices

SESSIONS = 330
TEST = 40


def write(path, sessions, date_format="%Y-%m-%d", start="2020-01-01"):
    closes = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(0).normal(size=2 * SESSIONS)))[:sessions]
    days = np.busday_offset(start, np.arange(sessions), roll="forward").tolist()
    rows = [
        f"{day.strftime(date_format)},{c},{1.01 * c},{0.99 * c},{c},1000" for day, c in zip(days, closes, strict=True)
    ]
    path.write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study of a file, and its folder."""
    place = tmp_path_factory.mktemp("studies")
    write(place / "prices.csv", SESSIONS)
    (place / "space.yaml").write_text(f"""
name: small
data: {{source: {place / "prices.csv"}, test_size: {TEST}, features: ohlc}}
validation: {{folds: 2, fold_size: 40, seeds: 1, window: sliding, train_size: 150}}
space:
  architecture: [rnn, gru]
  hidden_size: 4
  sequence_length: 4
  learning_rate: 0.003
  optimizer: adamw
  scaling: minmax
search: {{sampler: grid, finalists: 1, finalist_seeds: 2}}
scheduler: {{max_epochs: 3, grace_period: 3}}
seed: 3
""")
    space = load_space(str(place / "space.yaml"))
    prices = prepare(space.data)
    folder = place / "small"
    run_study(space, prices, space.split(prices),
              Options(folder=folder, command="test", executor=in_process_executor, quiet=True))  # fmt: skip
    return folder


@pytest.fixture
def study(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "small"))


def printed(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    out, err = capsys.readouterr()
    assert main([*map(str, arguments)]) == 0 if "--refit" not in arguments else True
    return json.loads(out), err, " ".join(capsys.readouterr().out.split())


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def weights(folder):
    return safetensors.torch.load((folder / WEIGHTS).read_bytes())


def test_the_text_says_how_many_sessions_the_networks_have_not_seen(capsys, study, tmp_path):
    found, _, text = printed(capsys, study)
    assert found["prices"]["unseen_sessions"] == TEST
    trained_to = found["forecaster"]["trained_to"]
    assert f"The networks have never seen the last {TEST} sessions, after {trained_to}: see --refit." in text
    newer = write(tmp_path / "newer.csv", SESSIONS + 7)
    assert printed(capsys, study, "--prices", newer)[0]["prices"]["unseen_sessions"] == TEST + 7
    assert (found["forecaster"]["version"], found["forecaster"]["versions"]) == (1, [1])
    assert "version" not in text


def test_a_refit_adds_a_version_and_changes_none(capsys, study, tmp_path):
    before = contents(study)
    newer = write(tmp_path / "newer.csv", SESSIONS + 7)
    made, err, _ = printed(capsys, study, "--prices", newer, "--refit")
    assert "training on all sessions to " in err
    assert made["forecaster"]["trained_to"] == made["prices"]["end"]
    assert made["prices"]["unseen_sessions"] == 0
    assert contents(study).items() >= before.items()
    added = {path.relative_to(study).as_posix() for path in contents(study).keys() - before.keys()}
    assert added == {"forecasters/1-v2/forecaster.json", "forecasters/1-v2/model.safetensors"}
    later, _, text = printed(capsys, study, "--prices", newer)
    assert later["forecast"] == made["forecast"]
    assert (later["forecaster"]["version"], later["forecaster"]["versions"]) == (2, [1, 2])
    assert "rank 1 (0000" in text
    assert ", version 2 of 2: " in text
    assert "those of this version." in text
    assert "The verdict and the shares of test days are those of version 1, which the study tested." in text
    first, _, text = printed(capsys, study, "--prices", newer, "--version", "1")
    assert first["forecaster"]["version"] == 1
    assert first["forecast"] != made["forecast"]
    assert ", version 1 of 2: " in text
    middle = contents(study)
    printed(capsys, study, "--refit")  # again, from the study's own file
    assert contents(study).items() >= middle.items()
    assert printed(capsys, study)[0]["forecaster"]["versions"] == [1, 2, 3]
    assert refused(capsys, study, "--version", "4").endswith("its versions are 1, 2, 3; choose one of them")
    assert refused(capsys, study, "--version", "1", "--refit").startswith("--refit: conflicts with --version; ")


def test_a_refit_on_the_days_of_the_study_gives_its_weights(capsys, study, tmp_path):
    """Then nothing differs from the study's own training: optimizer, seeds, epochs, sliding window."""
    same = write(tmp_path / "same.csv", SESSIONS - TEST)
    found, _, _ = printed(capsys, study, "--prices", same, "--refit")
    assert found["forecaster"]["trained_from"] == Forecaster.load(study / "forecasters" / "1").facts.trained_from
    old, new = weights(study / "forecasters" / "1"), weights(study / "forecasters" / "1-v2")
    assert old.keys() == new.keys()
    assert all((old[name] == new[name]).all() for name in old)


def test_a_study_with_versions_is_read_and_resumed(capsys, study):
    printed(capsys, study, "--refit")
    versions = contents(study / "forecasters")
    check_folder(study)
    assert report([str(study)]) == 0
    assert open_study(study).forecaster().facts.rank == 1
    assert search(["--resume", str(study), "--in-process", "--quiet"]) == 0
    assert contents(study / "forecasters") == versions
    assert refused(capsys, study, "--rank", "2").endswith("its ranks are 1; choose one of them")


def test_a_file_that_moved_is_replaced_by_the_studys_own_copy(capsys, study, finished, tmp_path):
    there = printed(capsys, study)[0]
    source = Path(there["prices"]["source"])
    hidden = source.rename(source.with_suffix(".moved"))
    try:
        found, err, _ = printed(capsys, study)
        assert found["forecast"] == there["forecast"]
        assert found["prices"] == there["prices"]
        assert f"{source}: no such file; forecasts from the study's own copy, which ends on " in err
        assert found["warnings"][0].endswith("give newer prices with --prices FILE")
        (study / "prices.parquet").unlink()
        assert refused(capsys, study).endswith(": no such file; the study read its prices from it; give prices with "
                                               "--prices FILE")  # fmt: skip
    finally:
        hidden.rename(source)


def test_a_study_of_a_date_format_forecasts_from_files_written_otherwise(capsys, study, tmp_path):
    document = study / "forecasters" / "1" / "forecaster.json"
    written = write(tmp_path / "european.csv", SESSIONS, "%d/%m/%Y")
    changed = json.loads(document.read_text())
    changed["facts"]["asked"] |= {"source": str(written), "date_format": "%d/%m/%Y"}
    document.write_text(json.dumps(changed))
    expected = printed(capsys, study)[0]["forecast"]
    for name, date_format, options in (
        ("same.csv", "%d/%m/%Y", ()),
        ("iso.csv", "%Y-%m-%d", ()),
        ("american.csv", "%m/%d/%Y", ("--date-format", "%m/%d/%Y")),
        ("words.csv", "%d.%b.%y", ("--date-format", "%d.%b.%y")),
    ):
        path = write(tmp_path / name, SESSIONS, date_format)
        assert printed(capsys, study, "--prices", path, *options)[0]["forecast"] == expected
    write(written, SESSIONS, "%m/%d/%Y")  # the study's file is written otherwise now
    assert printed(capsys, study, "--date-format", "%m/%d/%Y")[0]["forecast"] == expected
    assert "does not fit --date-format" in refused(capsys, study, "--prices", path, "--date-format", "%Y-%m-%d")
    assert printed(capsys, study, "--prices", "nasdaq")[0]["prices"]["source"] == "nasdaq"
    line = refused(capsys, study, "--prices", "nasdaq", "--date-format", "%Y-%m-%d")
    assert line.startswith("--date-format %Y-%m-%d: is set, but nasdaq is not a file; ")


def test_the_next_session_follows_the_rhythm_or_a_calendar(capsys, study, tmp_path):
    found, _, text = printed(capsys, study)
    assert found["forecast_for_basis"] == "weekdays; holidays are ignored"
    assert "the next session (weekdays; holidays are ignored)" in text
    days = tmp_path / "crypto.csv"
    rows = write(tmp_path / "five.csv", SESSIONS).read_text().splitlines()
    start = np.datetime64("2023-01-01")
    dated = [f"{start + number},{row.partition(',')[2]}" for number, row in enumerate(rows[1:])]
    days.write_text("\n".join([rows[0], *dated]) + "\n")
    found, _, _ = printed(capsys, study, "--prices", days)
    assert np.datetime64(found["forecast_for"]) == start + SESSIONS
    assert found["forecast_for_basis"] == "every day"
    pytest.importorskip("exchange_calendars")
    christmas = write(tmp_path / "christmas.csv", 100, start="2023-08-08")
    assert printed(capsys, study, "--prices", christmas)[0]["last_close"]["date"] == "2023-12-25"
    assert printed(capsys, study, "--prices", christmas, "--calendar", "XLON")[0]["forecast_for"] == "2023-12-27"
    assert "unknown exchange" in refused(capsys, study, "--calendar", "XLONN")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_openings": []}, "has no finalist 0000"),
        ({"test_openings": None}, "has no finalist 0000"),
        ({"seed": -1}, "manifest.json: seed: must be a whole number from 0"),
        ({"seed": "3"}, "manifest.json: seed: must be a whole number from 0"),
        ({"space": {"validation": {"train_size": "x"}}}, "space.validation.train_size: must be a whole number from 1"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_line_and_nothing_is_saved(capsys, study, change, words):
    path = study / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = contents(study)
    assert words in refused(capsys, study, "--refit")
    assert contents(study) == before


def test_too_few_sessions_cannot_be_trained_on(capsys, study, tmp_path):
    assert "4 sessions are too few to train on" in refused(
        capsys, study, "--refit", "--prices", write(tmp_path / "short.csv", 4)
    )


def test_a_forecaster_keeps_the_validation_forecasts_of_its_trial(finished):
    forecaster = Forecaster.load(finished / "forecasters" / "1")
    known = open_study(finished).predictions("validation")
    known = known[known["trial_id"] == forecaster.facts.trial_id]
    days = forecaster.validation
    assert list(days.dates) == known["date"].dt.strftime("%Y-%m-%d").tolist()
    for name in ("forecast", "actual", "rival"):
        np.testing.assert_allclose(getattr(days, name), known[name], rtol=1e-6)


def test_an_interrupted_refit_leaves_no_version(capsys, study, monkeypatch):
    before = contents(study)
    save = Forecaster.save

    def fail(forecaster, folder):
        save(forecaster, folder)
        (folder / "forecaster.json").unlink()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Forecaster, "save", fail)
    assert "the new version cannot be saved (No space left on device)" in refused(capsys, study, "--refit")
    assert contents(study) == before


def test_prices_in_memory(finished):
    """`predict` of the API takes a DataFrame; `refit` takes a series."""
    from stockrnn.forecaster.refit import refit

    forecaster = Forecaster.load(finished / "forecasters" / "1")
    prices = open_study(finished).prices()
    known = prepare(forecaster.facts.asked)
    assert isinstance(known, Prices)
    made = refit(forecaster, known, json.loads((finished / "manifest.json").read_text()))
    assert made.facts.trained_to == str(known.dates[-1])
    frame = made.predict(prices)
    assert frame["in_training"].tolist() == [False]
    assert frame["date"].iloc[0] > prices.index[-1]
