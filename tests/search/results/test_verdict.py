"""Test the text of the verdict for every kind of outcome."""

import math

import pytest

from search.results.event_log import TrialEnd
from search.results.ranking import rank
from search.results.verdict import verdict

BASELINES = {"persistence": {"val_theils_u": 1.0}, "drift": {"val_theils_u": 0.99}}
LUCKY = {"spa_p": 0.61, "test_spa_p": 0.4, "test_days": 250}
PROVEN = {"spa_p": 0.03, "test_spa_p": 0.001, "test_days": 250}


def rows(validation, test=(), p_value=0.7, **more):
    ends = [
        TrialEnd(trial_id=f"{number:05d}", status="complete", point={}, scores={"val_theils_u": score} if score else {})
        for number, score in enumerate(validation)
    ]
    columns = {f"{n:05d}": {"test_theils_u": score, "test_dm_p": p_value} for n, score in enumerate(test)}
    return rank(ends, BASELINES, metric="val_theils_u", mode="min", test=columns, **more)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.004, 1.2], "On validation nothing beats 'tomorrow equals today': the best of 2 trials (00000)"),
        ([0.97], "On validation the only trial (00000) beats 'tomorrow equals today': Theil's U 0.9700"),
        ([0.995, 1.0], "The baseline drift is as good without a network (0.9900)."),
        ([0.97, 1.0], "the test set has not been opened"),
        ([None], "No trial has a score"),
    ],
)
def test_what_validation_shows(scores, words):
    assert words in verdict(rows(scores))


def test_none_better_is_said_with_the_evidence():
    said = verdict(rows([0.98] * 40, [1.004, 1.01, 1.02]), LUCKY)
    assert (
        "On 250 unseen days none of 3 finalists beats 'tomorrow equals today' (best Theil's U 1.0040). Do not "
        "trade on this." in said
    )


def test_what_validation_promised_and_the_test_block_did_not_keep_is_said():
    said = verdict(rows([0.98] * 40, [1.004, 1.01, 1.02]), {**LUCKY, "spa_p": 0.004})
    assert (
        "(best Theil's U 1.0040), although validation was significant (SPA p over 40 trials below 0.01). Do not" in said
    )


@pytest.mark.parametrize(
    ("test", "p_value", "proof"),
    [
        ([0.99, 1.01], 0.2, PROVEN),  # the first finalist's own lead may be luck
        ([0.99, 1.01], math.nan, PROVEN),  # or is unknown
        ([0.99, 1.01], 0.001, {**PROVEN, "spa_p": 0.3}),  # so many trials make one good by chance
        ([0.99, 1.01], 0.001, {**PROVEN, "test_spa_p": 0.06}),
        ([0.99, 1.01], 0.001, {**PROVEN, "spa_p": None}),
        ([0.99, 1.01], 0.001, {**PROVEN, "spa_p": math.nan}),
        ([0.99, 1.01], 0.001, None),
        ([1.01, 0.90], 0.001, PROVEN),  # another than the first is better: chosen after the fact
    ],
)
def test_a_lead_that_may_be_luck_is_not_sold(test, p_value, proof):
    said = verdict(rows([0.98] * 3, test, p_value), proof)
    assert "the evidence does not rule out luck. Do not trade on this." in said
    assert "unlikely" not in said


def test_a_lead_that_every_test_confirms():
    said = verdict(rows([0.98] * 3, [0.90, 1.01], 0.004), PROVEN)
    assert (
        "On 250 unseen days 1 of 2 finalists beats 'tomorrow equals today'; the first (00000) has Theil's U 0.9000 "
        "(Diebold-Mariano p below 0.01, SPA p over the finalists below 0.01, SPA p over 3 trials on validation 0.03): "
        "unlikely to be luck. Trading costs are not included" in said
    )


def test_the_average_of_the_finalists_is_no_trial():
    said = verdict(rows([1.01, 1.02], [1.01, 1.02], ensemble={"val_theils_u": 0.97, "test_theils_u": 0.9}), LUCKY)
    assert "On validation nothing beats" in said
    assert "none of 2 finalists beats" in said


def test_one_trial_is_not_many():
    said = verdict(rows([0.98], [0.99], 0.001), PROVEN)
    assert "the finalist beats" in said
    assert "over 1" not in said
