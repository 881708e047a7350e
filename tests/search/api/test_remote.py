"""Run and open a study behind a URL from Python."""

import pytest

import search
import stockrnn

pytestmark = pytest.mark.slow


def test_a_study_behind_a_url_is_run_opened_and_resumed(bucket):
    overrides = {
        "search.num_samples": 1, "search.finalists": 0, "scheduler.max_epochs": 1, "scheduler.grace_period": 1,
        "validation.train_size": 300,
    }  # fmt: skip
    prices = stockrnn.load_prices("nasdaq").iloc[-900:]
    options = {"in_process": True, "quiet": True}
    study = search.run_study("smoke.yaml", prices=prices, overrides=overrides, output=f"{bucket}/results", **options)
    assert study.place == f"{bucket}/results/smoke"
    opened = search.open_study(study.place)
    folder = opened.folder
    assert opened.leaderboard().equals(study.leaderboard())
    assert len(opened.resume(overrides={"search.num_samples": 2}, **options).leaderboard(baselines=False)) == 2
    del opened
    assert not folder.exists()  # a temporary copy
    with pytest.raises(search.UserError):
        search.open_study(f"{bucket}/nothing")
