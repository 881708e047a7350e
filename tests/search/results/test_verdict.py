"""Test the text of the verdict for every kind of outcome."""

import math

import pytest

from search.results.event_log import TrialEnd
from search.results.ranking import rank
from search.results.verdict import split_verdict, verdict

BASELINES = {"persistence": {"val_relative_loss": 1.0}, "drift": {"val_relative_loss": 0.99}}
LUCKY = {"spa_p": 0.61, "test_spa_p": 0.4, "test_days": 250}
PROVEN = {"spa_p": 0.03, "test_spa_p": 0.001, "test_days": 250}


def rows(validation, test=(), p_value=0.7, sd=0.0, *, best_epochs=(), baselines=None, columns=None, **more):
    """Return a leaderboard of trials with these scores; `columns` are more of the first finalist."""
    ends = [
        TrialEnd(
            trial_id=f"{number:05d}", status="complete", point={}, scores={"val_relative_loss": score} if score else {},
            best_epoch=best_epochs[number] if best_epochs else None,
        )
        for number, score in enumerate(validation)
    ]  # fmt: skip
    tested = {
        f"{n:05d}": {"test_relative_loss": score, "test_dm_p": p_value, "seeds_sd": sd} for n, score in enumerate(test)
    }
    if tested:
        tested["00000"] |= columns or {}
    tested |= {name: {"test_relative_loss": score} for name, score in (baselines or {}).items()}
    everyone = BASELINES | {name: {"val_relative_loss": 1.0} for name in baselines or {}}
    return rank(ends, everyone, metric="val_relative_loss", mode="min", test=tested, **more)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.004, 1.2], "On validation no trial beats 'tomorrow equals today': the best of 2 trials (00000)"),
        ([0.97], "On validation the only trial (00000) beats 'tomorrow equals today': Theil's U 0.9700"),
        ([0.995, 1.0], "The baseline drift is as good without a network (0.9900)."),
        ([0.97, 1.0], "Undecided: the test set has not been opened."),
        ([0.97, 1.0], "The best of many trials is partly lucky."),
        ([None], "No trial has a score"),
    ],
)
def test_what_validation_shows(scores, words):
    assert words in verdict(rows(scores))


@pytest.mark.parametrize(
    ("score", "sd", "headline"),
    [
        (1.004, 0.001, "No evidence of skill: test error 0.40 % larger than 'tomorrow equals today'."),
        (1.0, 0.0, "No evidence of skill: test error equal to 'tomorrow equals today'."),
        (
            0.9996,
            0.0012,
            "No evidence of skill: test error practically equal to 'tomorrow equals today' (0.04 % smaller, less than "
            "its seeds differ).",
        ),
        (0.995, 0.001, "No evidence of skill: test error 0.50 % smaller than 'tomorrow equals today', but this may be "
         "luck."),
    ],
)  # fmt: skip
def test_the_first_sentence_is_the_conclusion(score, sd, headline):
    said = verdict(rows([0.98] * 3, [score], sd=sd), LUCKY)
    assert said.startswith(f"{headline} Do not trade on this. On validation ")
    assert split_verdict(said)[0] == headline


def test_p_values_come_last_and_can_be_left_out():
    said = verdict(rows([0.98] * 40, [1.004]), LUCKY)
    tests = (
        "Significance tests: Diebold-Mariano p 0.70, SPA p over the finalists 0.40, SPA p over 40 trials on validation "
        "0.61 (0.05 or less is evidence of skill)."
    )
    assert said.endswith(tests)
    headline, facts = split_verdict(said)
    assert said == f"{headline} {facts} {tests}"
    assert split_verdict("Nothing beats it.") == ("Nothing beats it.", "")


def test_none_better_is_said():
    said = verdict(rows([0.98] * 40, [1.004, 1.01, 1.02]), LUCKY)
    assert (
        "On 250 unseen days none of 3 finalists beats 'tomorrow equals today'; the first (00000) has Theil's U 1.0040."
        in said
    )


def test_what_validation_promised_and_the_test_block_did_not_keep_is_said():
    words = "Validation was significant, and the test set does not confirm it."
    assert words in verdict(rows([0.98] * 40, [1.004, 1.01, 1.02]), {**LUCKY, "spa_p": 0.004})
    assert words not in verdict(rows([0.98] * 40, [1.004, 1.01, 1.02]), LUCKY)


@pytest.mark.parametrize(
    ("test", "p_value", "proof", "sd"),
    [
        ([0.99, 1.01], 0.2, PROVEN, 0.0),  # the first finalist's own lead may be luck
        ([0.99, 1.01], math.nan, PROVEN, 0.0),  # or is unknown
        ([0.99, 1.01], 0.001, {**PROVEN, "spa_p": 0.3}, 0.0),  # so many trials make one good by chance
        ([0.99, 1.01], 0.001, {**PROVEN, "test_spa_p": 0.06}, 0.0),
        ([0.99, 1.01], 0.001, {**PROVEN, "spa_p": None}, 0.0),
        ([0.99, 1.01], 0.001, {**PROVEN, "spa_p": math.nan}, 0.0),
        ([0.99, 1.01], 0.001, None, 0.0),
        ([0.99, 1.01], 0.001, PROVEN, 0.02),  # another seed could have been worse than persistence
        ([1.01, 0.90], 0.001, PROVEN, 0.0),  # another than the first is better: chosen after the fact
    ],
)
def test_a_lead_that_may_be_luck_is_not_sold(test, p_value, proof, sd):
    said = verdict(rows([0.98] * 3, test, p_value, sd), proof)
    assert said.startswith("No evidence of skill: ")
    assert "Do not trade on this." in said
    assert "unlikely" not in said


def test_a_lead_that_every_test_confirms():
    said = verdict(rows([0.98] * 3, [0.90, 1.01], 0.004), PROVEN)
    assert said.startswith(
        "Evidence of skill: test error 10.00 % smaller than 'tomorrow equals today', unlikely to be luck. Trading "
        "costs are not included"
    )
    assert (
        "On 250 unseen days 1 of 2 finalists beats 'tomorrow equals today'; the first (00000) has Theil's U 0.9000."
        in said
    )
    assert said.endswith(
        "Significance tests: Diebold-Mariano p below 0.01, SPA p over the finalists below 0.01, SPA p over 3 trials on "
        "validation 0.03 (0.05 or less is evidence of skill)."
    )


def test_the_average_of_the_finalists_is_no_trial():
    said = verdict(
        rows([1.01, 1.02], [1.01, 1.02], ensemble={"val_relative_loss": 0.97, "test_relative_loss": 0.9}), LUCKY
    )
    assert "On validation no trial beats" in said
    assert "none of 2 finalists beats" in said


def test_one_trial_is_not_many():
    said = verdict(rows([0.98], [0.99], 0.001), PROVEN)
    assert "the finalist (00000) beats" in said
    assert "over 1" not in said


def test_the_horizon_is_named():
    said = verdict(rows([0.99, 1.01], [1.004, 0.98]), LUCKY, horizon=5)
    assert said.startswith("No evidence of skill: test error 0.40 % larger than 'no change over 5 sessions'.")
    assert "tomorrow" not in said


def test_a_difference_smaller_than_the_spread_of_the_networks_is_not_a_lead():
    ends = rows([0.98, 1.1])
    ends[0]["val_relative_loss_sd"] = 0.03
    said = verdict(ends)
    assert "(00000) is practically equal to 'tomorrow equals today': Theil's U 0.9800, and its networks differ" in said
    assert "beats" not in said
    said = verdict(rows([0.9, 0.9, 0.9, 0.9], [0.98, 0.999, 1.001, 1.02], sd=0.002), LUCKY)
    assert "1 of 4 finalists beats 'tomorrow equals today', 2 are practically equal to it; the first (00000)" in said


@pytest.mark.parametrize(
    ("drift", "ar1", "words"),
    [
        (0.99, 0.97, "AR(1) did better without a network (Theil's U 0.9700 on the test set)."),
        (0.989, 1.1, "Drift is practically as good without a network (Theil's U 0.9890 on the test set)."),
        (1.0, 1.1, None),
    ],
)
def test_a_baseline_that_did_better_on_the_test_set_is_said(drift, ar1, words):
    scored = {"persistence": 0.5, "drift": drift, "ar1": ar1}  # persistence is the rival itself
    said = verdict(rows([0.9], [0.985], 0.001, 0.005, baselines=scored), PROVEN)
    assert said.startswith("Evidence of skill")
    assert (words or "unlikely to be luck. Trading") in said
    assert ("unlikely to be luck; but a baseline is as good without a network." in said) == bool(words)
    assert said.count("without a network") == (2 if words else 0)


@pytest.mark.parametrize(
    ("best_epochs", "words"),
    [
        ((9, 9, 4), "2 of the 3 best trials were still improving at the last epoch (9): train longer"),
        ((9, 4, 4), None),
        (
            (9,),
            "The best trial was still improving at the last epoch (9): train longer, with --set "
            "scheduler.max_epochs=18.",
        ),
    ],
)
@pytest.mark.parametrize("test", [False, True])
def test_trials_that_still_improve_at_the_last_epoch_are_said(best_epochs, words, test):
    scores = [0.98] * len(best_epochs)
    board = rows(scores, scores if test else (), best_epochs=best_epochs)
    assert (words or "") in verdict(board, LUCKY, max_epochs=9)
    assert ("train longer" in verdict(board, LUCKY, max_epochs=9)) == bool(words)
    assert "train longer" not in verdict(board, LUCKY, max_epochs=10)
    assert "train longer" not in verdict(board, LUCKY)


@pytest.mark.parametrize(
    ("inside", "days", "words"),
    [
        ({"test_coverage_80": 0.62}, 250, "The 80 % interval was far too narrow: 62 % of the test days were in it."),
        ({"test_coverage_80": 0.97}, 250, "The 80 % interval was far too wide: 97 % of the test days were in it."),
        ({"test_coverage_80": 0.8, "test_coverage_95": 0.88}, 250, "The 95 % interval was far too narrow: 88 %"),
        ({"test_coverage_80": 0.73, "test_coverage_95": 1.0}, 250, None),
        ({"test_coverage_80": 0.62}, 30, None),  # so few days leave room for chance
        ({"test_coverage_80": None}, 250, None),
    ],
)
def test_intervals_that_were_far_off_are_said(inside, days, words):
    said = verdict(rows([0.98], [1.01], columns=inside), {**LUCKY, "test_days": days})
    assert (words or "") in said
    assert ("interval was" in said) == bool(words)


def test_a_rival_without_errors_has_no_verdict():
    board = rows([0.98], columns=None)
    board[0]["test_rmse"] = 0.0
    assert verdict(board).startswith("No result: Theil's U is undefined in the test set")
