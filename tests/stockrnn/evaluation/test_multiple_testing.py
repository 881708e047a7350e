"""Test the multiple-testing functions against slow loops, `arch`, and simulated searches with a known truth."""

import itertools
import math
import statistics
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from tiers import count

from stockrnn.evaluation import multiple_testing
from stockrnn.evaluation.multiple_testing import UndefinedTestError, backtest_overfitting, model_confidence_set, spa

pytestmark = pytest.mark.slow


def search(seed, trials=40, days=750, signal=0.0, shared=0.2, own=0.2):
    """Return squared errors of a search's trials and of persistence, on a random walk with returns of variance one.

    The trials forecast noise, which is partly shared. With a signal, trial 7 knows that share of the variance.
    """
    rng = np.random.default_rng(seed)
    known = math.sqrt(signal) * rng.normal(size=days)
    change = known + math.sqrt(1 - signal) * rng.normal(size=days)
    forecast = shared * rng.normal(size=days) + own * rng.normal(size=(trials, days))
    if signal:
        forecast[7 % trials] = known
    return (change - forecast) ** 2, change**2


def equally_good(seed, trials=40, days=750, share=0.05):
    """Return squared errors of trials that are exactly as good as persistence in expectation, and of persistence.

    Each trial knows the predictable share of the return and adds as much independent noise, so that both effects
    cancel. Returns have fat tails (Student's t, 5 degrees of freedom).
    """
    rng = np.random.default_rng(seed)
    deviation = math.sqrt(share)
    known = deviation * rng.normal(size=days)
    change = known + math.sqrt((1 - share) * 3 / 5) * rng.standard_t(5, size=days)
    forecast = known + deviation * rng.normal(size=(trials, days))
    return (change - forecast) ** 2, change**2


def drawn_days(days, run, seed, replications):
    from arch.bootstrap import StationaryBootstrap

    bootstrap = StationaryBootstrap(run, np.arange(days), seed=seed)
    return [[int(day) for day in data[0][0]] for data in bootstrap.bootstrap(replications)]


def run_and_widening(days, horizon):
    run = max(math.ceil(days ** (1 / 3)), 2 * horizon)
    return run, math.sqrt(days / (days - 2 * run + 1))


def slow_spa(losses, rival, horizon, seed, replications):
    """Return Hansen's consistent p-value of standardized leads, and the number of forecasts that it left out."""
    days = len(rival)
    run, widening = run_and_widening(days, horizon)
    centred, means, too_bad = [], [], 0
    for row in losses:
        leads = [theirs - own for own, theirs in zip(row, rival, strict=True)]
        deviation = statistics.pstdev(leads)
        mean = statistics.fmean(leads) / deviation
        widened = [mean + widening * (lead / deviation - mean) for lead in leads]
        # The paper's variance of the mean under this bootstrap: weighted autocovariances.
        variance = 0.0
        for one in range(days):
            for other in range(days):
                lag = abs(one - other)
                stay = 1 - 1 / run
                kernel = (days - lag) / days * stay**lag + lag / days * stay ** (days - lag) if lag else 1.0
                variance += kernel * (widened[one] - mean) * (widened[other] - mean) / days
        bad = mean < -math.sqrt(variance / days * 2 * math.log(math.log(days)))
        too_bad += bad
        means.append(mean)
        centred.append([lead - (0 if bad else mean) for lead in widened])
    reached = 0
    for chosen in drawn_days(days, run, seed, replications):
        simulated = max(statistics.fmean(row[day] for day in chosen) for row in centred)
        reached += max(0, simulated) >= max(0, *means)
    return (reached + 1) / (replications + 1), too_bad


@pytest.mark.parametrize(("days", "horizon"), [(40, 1), (64, 1), (64, 4), (90, 3)])
def test_spa_agrees_with_a_slow_loop(monkeypatch, days, horizon):
    monkeypatch.setattr(multiple_testing, "REPLICATIONS", 150)
    found = []
    for seed in range(3):
        losses, rival = equally_good(seed, 5, days, 0.2)
        losses[3] += 1.5  # too bad to matter
        expected, too_bad = slow_spa(losses, rival, horizon, seed, 150)
        assert too_bad >= 1
        assert spa(losses, rival, horizon=horizon, seed=seed) == pytest.approx(expected, abs=1e-12)
        found.append(expected)
    assert min(found) < 0.9


def test_spa_takes_one_forecast():
    losses, rival = equally_good(1, 1, 300)
    leads = rival - losses[0]
    statistic = leads.mean() / leads.std() * math.sqrt(300)
    # Draws and neighbours differ a little from the normal distribution of independent days.
    assert spa(losses, rival) == pytest.approx(1 - statistics.NormalDist().cdf(statistic), abs=0.05)


def test_spa_is_never_zero():
    rival = np.random.default_rng(2).normal(size=100) ** 2
    assert spa(rival[None] / 2, rival) == 1 / 1_001
    assert spa(rival[None] * 2, rival) == 1


def test_forecasts_that_repeat_the_rival_are_left_out():
    losses, rival = search(3, 5, 200, 0.0)
    more = np.concatenate([rival[None], losses, rival[None] * (1 + 1e-14), rival[None] + 0.5])
    assert spa(more, rival) == spa(losses, rival)


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_confidence_set_agrees_with_arch(horizon):
    from arch.bootstrap import MCS

    seen = set()
    for seed in range(6):
        losses = search(seed, 12, 200, 0.1)[0] + np.linspace(0, 0.3, 12)[:, None]
        run, widening = run_and_widening(200, horizon)
        means = losses.mean(axis=1, keepdims=True)
        widened = means + widening * (losses - means)
        theirs = MCS(widened.T, size=0.1, reps=1_000, block_size=run, method="R", seed=seed)
        theirs.compute()
        shares = theirs.pvalues["Pvalue"].sort_index().to_numpy()
        assert multiple_testing._confidence(losses, horizon, seed) == pytest.approx(shares, abs=1e-12)
        found = model_confidence_set(losses, horizon=horizon, seed=seed)
        assert np.flatnonzero(found).tolist() == theirs.included
        assert model_confidence_set(losses, size=0.4, horizon=horizon, seed=seed).tolist() == (shares > 0.4).tolist()
        seen |= set(shares)
    assert len(seen) > 10


def test_equal_models_get_the_same_result():
    losses, _ = search(4, 6, 300, 0.3, own=0.4)
    losses = np.concatenate([losses, np.full((1, 300), losses[0].mean())])  # one the same every day
    plain = model_confidence_set(losses)
    doubled = np.concatenate([losses, losses])
    assert model_confidence_set(doubled).tolist() == [*plain, *plain]
    for one in range(7):  # one doubled, but for rounding
        again = np.concatenate([losses, losses[[one]] * (1 + 1e-15)])
        assert model_confidence_set(again).tolist() == [*plain, plain[one]]
    assert 0 < plain.sum() < 7


def test_models_that_differ_by_nothing_but_a_constant():
    losses = np.random.default_rng(5).normal(size=200) ** 2
    assert model_confidence_set(np.stack([losses] * 4)).all()
    assert model_confidence_set(np.stack([losses + 0.1, losses, losses + 0.2])).tolist() == [False, True, False]
    assert model_confidence_set(np.array([[2.0], [1.0], [1.0]]) * np.ones(50)).tolist() == [False, True, True]
    assert model_confidence_set(np.zeros((3, 50))).all()


def test_models_that_tie_without_being_equal_are_all_in_the_set():
    losses = np.random.default_rng(6).normal(size=(1, 60)) ** 2
    turned = np.concatenate([losses, losses[:, ::-1]])
    turned = np.round(turned * 64) / 64  # sums are exact
    assert model_confidence_set(turned).all()


def slow_overfitting(losses, blocks):
    from scipy import stats

    trials, days = losses.shape
    length = days // blocks
    spare = days - blocks * length
    parts = [range(spare + block * length, spare + (block + 1) * length) for block in range(blocks)]
    shares = []
    for inside in itertools.combinations(range(blocks), blocks // 2):
        first = [day for block in inside for day in parts[block]]
        second = [day for block in range(blocks) if block not in inside for day in parts[block]]
        before = [statistics.fmean(row[first]) for row in losses]
        after = [statistics.fmean(row[second]) for row in losses]
        ranks = stats.rankdata([-loss for loss in after])  # the best has the highest, ties their average
        relative = [rank / (trials + 1) for rank in ranks]
        logits = [math.log(one / (1 - one)) for one in relative]
        shares.append(
            statistics.fmean(logit <= 1e-12 for logit, loss in zip(logits, before, strict=True) if loss == min(before))
        )
    return statistics.fmean(shares)


@pytest.mark.parametrize(("trials", "days", "blocks"), [(2, 40, 4), (3, 47, 4), (5, 59, 8), (12, 61, 6), (30, 50, 10)])
def test_overfitting_agrees_with_every_split_in_turn(trials, days, blocks):
    for seed in range(4):
        losses, _ = search(seed, trials, days, shared=1.0)
        expected = slow_overfitting(losses, blocks)
        assert backtest_overfitting(losses, blocks=blocks) == pytest.approx(expected)
        whole = np.round(losses)  # with ties before and after
        assert backtest_overfitting(whole, blocks=blocks) == pytest.approx(slow_overfitting(whole, blocks))
        double = np.concatenate([losses, losses[: trials // 2]])
        assert backtest_overfitting(double, blocks=blocks) == pytest.approx(slow_overfitting(double, blocks))
        flags = (losses > 1).astype(float)
        assert backtest_overfitting(flags, blocks=blocks) == pytest.approx(slow_overfitting(flags, blocks))


def test_fewer_blocks_on_few_days():
    losses, _ = search(1, 6, 79)
    assert backtest_overfitting(losses[:, :40]) == pytest.approx(slow_overfitting(losses[:, :40], 8))
    assert backtest_overfitting(losses[:, :59]) == pytest.approx(slow_overfitting(losses[:, :59], 10))
    assert backtest_overfitting(losses) == backtest_overfitting(losses, blocks=14)
    longer = np.concatenate([losses, losses[:, :1]], axis=1)
    assert backtest_overfitting(longer) == backtest_overfitting(longer, blocks=20) != backtest_overfitting(losses)


def test_the_first_days_are_dropped():
    losses, _ = search(2, 6, 83)
    changed = losses.copy()
    changed[0, :3] = 1e6
    assert backtest_overfitting(changed) == backtest_overfitting(losses)
    changed[0, 3] = 1e6
    assert backtest_overfitting(changed) != backtest_overfitting(losses)


def test_known_overfitting():
    losses, _ = search(3, 20, 160)
    better = losses.min(axis=0) - 0.1
    assert backtest_overfitting(np.concatenate([losses, better[None]])) == 0
    # Equal totals: what a trial gains on one half it loses on the other, the first becomes the last.
    assert backtest_overfitting(losses - losses.mean(axis=1, keepdims=True)) == 1
    # Two trials, one of which is better in three blocks of four: it is chosen unless its bad block outweighs them.
    blocks = np.array([[1.0, 1.0, 1.0, 4.0], [2.0, 2.0, 2.0, 2.0]])
    # 01, 02, 12 choose the first, which is worse on the rest; 03, 13, 23 the second, worse than the first there.
    assert backtest_overfitting(np.repeat(blocks, 10, axis=1), blocks=4) == 1
    blocks[0, 3] = 2.5  # now 03, 13, 23 choose the first as well and are right
    assert backtest_overfitting(np.repeat(blocks, 10, axis=1), blocks=4) == 0
    blocks[0, 3] = 3.5  # 01, 02, 12 choose the first: 4.5 to 4 on the rest; the others choose the second: 4 to 2
    assert backtest_overfitting(np.repeat(blocks, 10, axis=1), blocks=4) == 1


def test_chunks_do_not_change_the_result_and_limit_the_memory(monkeypatch):
    losses, _ = search(4, 1_000)
    tracemalloc.start()
    whole = backtest_overfitting(losses)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    small = backtest_overfitting(losses[:9])
    monkeypatch.setattr(multiple_testing, "MAX_CELLS", 1_000)
    assert backtest_overfitting(losses[:9]) == pytest.approx(small, abs=1e-12)
    assert 0.3 < whole < 0.7


def test_the_same_seed_gives_the_same_result_and_the_global_seed_is_not_used():
    losses, rival = equally_good(8, 10, 200)
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    values = [spa(losses, rival, seed=seed) for seed in (0, 0, 1)]
    shares = [multiple_testing._confidence(losses, 1, seed) for seed in (0, 0, 1)]
    assert model_confidence_set(losses).dtype == bool
    assert np.random.random() == expected
    assert values[0] == values[1] == spa(losses, rival) != values[2]
    assert (shares[0] == shares[1]).all()
    assert (shares[0] != shares[2]).any()


def test_no_verdict_depends_on_the_loss_s_unit():
    losses, rival = search(9, 8, 150, 0.1)
    first = spa(losses, rival), backtest_overfitting(losses), model_confidence_set(losses).tolist()
    for unit in (2.0**-60, 2.0**60):
        scaled, theirs = losses * unit, rival * unit
        assert first == (spa(scaled, theirs), backtest_overfitting(scaled), model_confidence_set(scaled).tolist())


def test_a_diverged_forecast_does_not_hide_others():
    losses, rival = search(10, 20, 750, 0.08)
    assert spa(losses, rival) < 0.05
    for wild in (1e6, 1e77, 1e308):
        exploded = losses.copy()
        exploded[3, 400] = wild
        assert spa(exploded, rival) < 0.05
        assert backtest_overfitting(exploded) == pytest.approx(backtest_overfitting(losses), abs=0.1)
        exploded[4] = wild
        assert spa(exploded, rival) < 0.05
        assert backtest_overfitting(exploded) == pytest.approx(backtest_overfitting(losses), abs=0.1)
        found = model_confidence_set(exploded)
        assert found[7]
        assert not found[4]
        assert found.sum() < 10


def test_the_largest_numbers_do_not_overflow():
    signs = np.sign(np.random.default_rng(11).normal(size=(4, 80)))
    losses = 2.0**1023 * signs
    assert spa(losses[1:], losses[0]) == spa(signs[1:], signs[0])
    assert backtest_overfitting(losses) == backtest_overfitting(signs)
    assert model_confidence_set(losses).tolist() == model_confidence_set(signs).tolist()


@pytest.mark.parametrize(
    ("trials", "days", "horizon", "reason"),
    [
        (0, 100, 1, "no trials"),
        (1, 100, 1, "one trial only"),
        (3, 12, 1, "12 days, at least 40 are needed"),
        (3, 39, 1, "39 days, at least 40 are needed"),
        (3, 79, 10, "79 days, at least 80 are needed"),
        (3, 0, 1, "0 days, at least 40 are needed"),
    ],
)
def test_too_little_for_a_verdict(trials, days, horizon, reason):
    losses, rival = search(1, trials, days)
    if trials != 1:
        with pytest.raises(UndefinedTestError, match=f"^{reason}$"):
            spa(losses, rival, horizon=horizon)
    if horizon == 1:
        with pytest.raises(UndefinedTestError, match=f"^{reason}$"):
            backtest_overfitting(losses)
    with pytest.raises(UndefinedTestError, match=f"^{reason}$"):
        model_confidence_set(losses, horizon=horizon)


def test_just_enough_for_a_verdict():
    losses, rival = search(1, 2, 40)
    for horizon in (1, 5):
        assert 0 < spa(losses, rival, horizon=horizon) <= 1
        assert model_confidence_set(losses, horizon=horizon).any()
    assert 0 <= backtest_overfitting(losses) <= 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite_give_no_verdict(value):
    losses, rival = search(1, 3, 60)
    wild, theirs = losses.copy(), rival.copy()
    wild[1, 5] = theirs[5] = value
    for verdict in (
        lambda: spa(wild, rival),
        lambda: spa(losses, theirs),
        lambda: model_confidence_set(wild),
        lambda: backtest_overfitting(wild),
    ):
        with pytest.raises(UndefinedTestError, match=r"^a loss is not finite$"):
            verdict()


def test_trials_that_are_all_the_same_give_no_verdict():
    _, rival = search(1, 3, 60)
    same = np.stack([rival, rival])
    for losses in (same, same * (1 + 1e-14)):
        with pytest.raises(UndefinedTestError, match=r"^every forecast is persistence itself$"):
            spa(losses, rival)
    with pytest.raises(UndefinedTestError, match=r"^every forecast is persistence itself$"):
        spa(np.zeros((2, 60)), np.zeros(60))
    with pytest.raises(UndefinedTestError, match=r"^every forecast's lead is the same each day$"):
        spa(same + 1, rival)
    with pytest.raises(UndefinedTestError, match=r"^all trials have the same losses$"):
        backtest_overfitting(same)


def test_importing_the_module_is_cheap():
    code = (
        "import sys, stockrnn.evaluation.multiple_testing;"
        "print(*{'arch', 'pandas', 'scipy', 'torch'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


# Simulated searches of each kind. The share of 200 draws at 5 % has a standard deviation of 1.5 points.
STUDIES = count("STUDIES", 60)


@pytest.fixture
def quicker(monkeypatch):
    """Use a fifth of the replications, which rarely changes whether p <= 0.05."""
    monkeypatch.setattr(multiple_testing, "REPLICATIONS", 200)


@pytest.mark.campaign
@pytest.mark.usefixtures("quicker")
def test_a_search_among_noise_is_not_significant():
    studies = [search(seed) for seed in range(STUDIES)]
    assert statistics.fmean(spa(*study) <= 0.05 for study in studies) <= 0.03  # noise is worse than persistence
    assert 0.45 < statistics.fmean(backtest_overfitting(losses) for losses, _ in studies) < 0.55


@pytest.mark.campaign
@pytest.mark.usefixtures("quicker")
def test_the_rejection_rate_among_forecasts_as_good_as_persistence():
    studies = [equally_good(seed) for seed in range(STUDIES)]
    rejected = statistics.fmean(spa(*study) <= 0.05 for study in studies)
    assert 0.02 <= rejected <= 0.08
    # The luckiest of the 40 taken alone would pass a one-sided t-test far more often.
    leads = [rival - losses for losses, rival in studies]
    lucky = [(lead.mean(axis=1) / lead.std(axis=1)).max() * math.sqrt(750) > 1.645 for lead in leads]
    assert statistics.fmean(lucky) > 0.3
    # And a confidence set keeps any one of them: all are the best.
    assert statistics.fmean(model_confidence_set(losses)[0] for losses, _ in studies) >= 0.9


@pytest.mark.campaign
@pytest.mark.usefixtures("quicker")
def test_a_trial_that_knows_a_twentieth_of_the_variance_is_found():
    studies = [search(seed, signal=0.05) for seed in range(STUDIES)]
    assert statistics.fmean(spa(*study) <= 0.05 for study in studies) >= 0.8
    assert statistics.fmean(backtest_overfitting(losses) for losses, _ in studies) < 0.1
    sets = [model_confidence_set(losses) for losses, _ in studies]
    assert statistics.fmean(found[7] for found in sets) >= 0.9
    assert statistics.fmean(found.sum() for found in sets) < 20


@pytest.mark.campaign
@pytest.mark.usefixtures("quicker")
def test_overlapping_errors_do_not_fool_the_test():
    # Twenty sessions ahead: sums of twenty neighbouring returns, forecast as well as persistence does.
    def overlapping(seed):
        rng = np.random.default_rng(seed)
        known, noise, own = (rng.normal(size=(rows, 269)) for rows in (1, 1, 20))
        sums = [np.lib.stride_tricks.sliding_window_view(one, 20, axis=1).sum(axis=2) for one in (known, noise, own)]
        change, forecast = 0.2 * sums[0] + sums[1], 0.2 * (sums[0] + sums[2])
        return (change - forecast) ** 2, change[0] ** 2

    studies = [overlapping(seed) for seed in range(STUDIES)]
    careful = statistics.fmean(spa(*study, horizon=20) <= 0.05 for study in studies)
    careless = statistics.fmean(spa(*study, horizon=1) <= 0.05 for study in studies)
    assert careful <= 0.1, careless
    assert careless > 0.15, careful
