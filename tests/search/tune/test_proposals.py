"""Test proposals: they are those of Optuna's sampler for the same trials and seed, and read a bounded number."""

import random

import numpy as np
import optuna
import pytest

from search.optuna_journal.journal import restrict
from search.results.event_log import TrialEnd
from search.space.samplers import SAMPLERS
from search.tune.proposals import MAX_HISTORY, History, choose_values, propose

SPACE = {
    "architecture": ["rnn", "gru"], "hidden_size": {"int": [4, 64], "log": True}, "num_layers": {"int": [1, 2]},
    "dropout": {"float": [0.0, 0.4], "when": {"num_layers": 2}}, "learning_rate": {"float": [1e-4, 1e-2], "log": True},
}  # fmt: skip


def ends_of(space, count):
    history, ends = History(space), []
    for number in range(count):
        point = space.point(propose(space, history, {}, number))
        scores = {space.search.metric: random.Random(number).random()}
        ends.append(
            TrialEnd(
                trial_id=f"{number:05d}", status="complete", point=point, scores=scores, epochs=3, best_epoch=2
            )
        )  # fmt: skip
    return ends


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("count", [0, 5, 40])
def test_a_proposal_is_that_of_optuna_for_the_same_trials(small_space, count):
    space = small_space(space=SPACE, search={"sampler": "tpe"})
    ends = ends_of(space, count)
    seed = int(np.random.SeedSequence([space.seed, 77, 0]).generate_state(2)[0])
    study = optuna.create_study(sampler=SAMPLERS["tpe"].make(space.seed, seed))
    for end in ends:
        params, distributions = restrict(space, end.point)
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=distributions, value=end.scores[space.search.metric]
            )
        )  # fmt: skip
    trial = study.ask()
    choose_values(space, trial)
    random.Random(0).shuffle(ends)
    assert propose(space, History(space, ends), {}, 77) == trial.params


def test_the_best_of_many_trials_are_read_always_and_others_by_chance(small_space):
    space = small_space(space=SPACE, search={"sampler": "tpe"})
    point = ends_of(space, 1)[0].point
    history = History(space)
    for number in range(MAX_HISTORY + 300):
        scores = {space.search.metric: float(number)} if number % 10 else {}
        history.add(TrialEnd(trial_id=f"{number:05d}", status="stopped", point=point, scores=scores, epochs=1))
    first, again, other = history.select(1), history.select(1), history.select(2)
    assert len(first) == MAX_HISTORY
    assert list(first) == list(again)
    assert set(first) != set(other)
    best = {f"{number:05d}" for number in range(MAX_HISTORY // 4) if number % 10}
    assert best <= set(first) & set(other)
