"""Tests that ask whether the best of many trials is good, or only the luckiest of many.

Each takes the losses of trials, shape (trials, days): any loss, smaller is better, such as the squared error in
price points squared, the same consecutive sessions in every row, in order of time. `horizon` is the sessions
between a forecast and its target: at more than one, neighbouring errors overlap and are correlated.

`spa` and `model_confidence_set` draw whole runs of days (stationary bootstrap of Politis & Romano, 1994, doi
10.1080/01621459.1994.10476870), so that what neighbouring days share stays together. A run is on average the
cube root of the days or twice the horizon, whichever is longer. Drawn so, a mean varies a little less than it
truly does, the less the longer the run: were the days independent, by the factor 1 - (2 * run - 1) / days in
the variance, which both tests put right. All this was chosen by simulation: where persistence is held against
1 to 200 forecasts exactly as good, `spa` at 5 % finds "one is better" in 4 to 7 % of cases on 750 days, in 5 to
10 % on 40 to 60 days and at horizons of 5 and 20.

Where a test cannot be made it raises `Undefined`, whose text says why.
"""

import itertools
import math

import numpy as np

__all__ = ["DAYS", "Undefined", "backtest_overfitting", "model_confidence_set", "spa"]

DAYS = 40  # fewer say nothing
DAYS_PER_BLOCK = 5
REPLICATIONS = 1_000
NEGLIGIBLE = 1e-10  # a difference of losses below this share of the larger is rounding of the prices
CELLS = 2**20  # splits times trials held at once, 8 MiB to an array


class Undefined(ValueError):  # noqa: N818  # not a fault
    """A test that cannot be made; the text is one short clause, "one trial only", to be shown to a user."""


def spa(losses: np.ndarray, rival: np.ndarray, *, horizon: int = 1, seed: int = 0) -> float:
    """p-value of superior predictive ability: small when at least one forecast truly beats the rival.

    The best of many forecasts leads by luck alone; the test holds its lead against the largest lead that as
    many forecasts would show were none better than the rival. Forecasts so bad that they cannot matter are left
    out of that count (the consistent p-value of the paper), others dilute it: leave out what was never a
    candidate. Each forecast's lead, the rival's loss less its own, is divided by its standard deviation over
    the days, so that a forecast that explodes on one day does not hide the others. The standard deviation of
    the mean, which the paper suggests, is so noisy that 5 % became 15 % on 40 days, 23 % at a horizon of 20.
    A forecast whose lead is the same every day, such as the rival itself, has no such scale and is left out.

    1 where no forecast leads (the paper's statistic is then zero), and never below 1 / 1,001: the data are
    counted among the 1,000 replications.

    Source: Hansen (2005), A test for superior predictive ability, doi 10.1198/073500105000000063.

    Args:
        losses: shape (forecasts, days), one forecast or more.
        rival: shape (days,), the same loss of the rival (persistence) on the same days.
        horizon: sessions between a forecast and its target.
        seed: the same seed and losses give the same p-value.
    """
    losses = _checked(losses, horizon, least=1)
    rival = _checked(np.asarray(rival)[None], horizon, least=1)
    assert losses.shape[1] == rival.shape[1]
    scale = np.maximum(np.abs(losses).max(axis=1, keepdims=True), np.abs(rival).max())
    scale[scale == 0] = 1
    leads = rival / scale - losses / scale
    deviation = leads.std(axis=1, keepdims=True)
    varies = deviation[:, 0] > NEGLIGIBLE
    if np.abs(leads).max() <= NEGLIGIBLE:
        raise Undefined("every forecast is persistence itself")
    if not varies.any():
        raise Undefined("every forecast's lead is the same each day")
    leads = leads[varies] / deviation[varies]
    mean = leads.mean(axis=1, keepdims=True)
    if mean.max() <= 0:
        return 1.0
    run = _run(losses.shape[1], horizon)
    leads = mean + (leads - mean) * _widening(losses.shape[1], run)

    from arch.bootstrap import SPA  # a second, only here

    # It studentises by name only: its statistic is the plain mean, hence the scale above.
    test = SPA(np.zeros(leads.shape[1]), -leads.T, block_size=run, reps=REPLICATIONS, seed=seed)
    test.compute()
    reached = round(float(test.pvalues["consistent"]) * REPLICATIONS)
    return (reached + 1) / (REPLICATIONS + 1)


def model_confidence_set(losses: np.ndarray, *, size: float = 0.10, horizon: int = 1, seed: int = 0) -> np.ndarray:
    """Which models may be the best: a set that holds the truly best one with probability 1 - size or more.

    As long as the models left are not plausibly equal, the one that loses most clearly to another is struck off
    (the range statistic of the paper, over all pairs). Models with equal losses get the same answer; a model
    that is worse than another by the same amount every day is out. Of 40 equally good models on 750 days, any
    one was kept in 99 % of simulations, all of them in 85 %, and in 53 % on 60 days.

    Agrees with `arch.bootstrap.MCS`, `method="R"`, but for the variance put right. That is not used: it divides
    by zero where two models are equal, and holds replications x models x models numbers, 1.4 GB for 200 models
    and too much for 1,000. Its other method, "max", weighs a model against the average of all and kept 9 models
    of 20 where the range kept 2, and 16 where one of them explodes now and then.

    Source: Hansen, Lunde & Nason (2011), The model confidence set, doi 10.3982/ECTA5771.

    Args:
        losses: shape (models, days), two models or more.
        size: 0.10 for a set that misses the best model in at most one case of ten.
        horizon: sessions between a forecast and its target.
        seed: the same seed and losses give the same set.

    Returns:
        Shape (models,), True for the models in the set: at least one is.
    """
    assert 0 < size < 1
    losses = _checked(losses, horizon, least=2)
    return _confidence(losses, horizon, seed) > size


def backtest_overfitting(losses: np.ndarray, *, blocks: int = 16) -> float:
    """Probability of backtest overfitting: how often the best trial on half of the days is in the worse half after.

    The days are cut into blocks of equal length; the days that remain are dropped from the start. For every way
    to take half of the blocks, the trial with the smallest mean loss on them is ranked among all trials on the
    other half. The probability is the share of splits in which it ends no better than the middle: at most as
    many trials are worse than it as are better (the paper's logit <= 0, with average ranks for ties; trials that
    tie for the smallest loss count in equal parts). Near 0 where the best trial is truly the best, about 0.5
    where all are equally good ((trials + 1) / (2 * trials) if their number is odd, as the middle counts).

    Source: Bailey, Borwein, Lopez de Prado & Zhu (2016), The probability of backtest overfitting, doi
    10.21314/JCF.2016.322: combinatorially symmetric cross-validation, with the mean loss for the Sharpe ratio.

    Args:
        losses: shape (trials, days), two trials or more.
        blocks: an even number, at least 4; 16 make 12,870 splits, 20 make 184,756. Fewer are taken where there
            are fewer than five days to a block.
    """
    assert blocks >= 4
    assert blocks % 2 == 0
    losses = _checked(losses, horizon=1, least=2)
    days = losses.shape[1]
    blocks = min(blocks, days // DAYS_PER_BLOCK // 2 * 2)
    length = days // blocks
    cut = losses[:, days - blocks * length :] * 2.0**-32  # a power of two, exact: no sum overflows
    sums, counts = np.unique(cut.reshape(-1, blocks, length).sum(axis=2), axis=0, return_counts=True)
    if len(sums) == 1:
        raise Undefined("all trials have the same losses")
    splits = itertools.combinations(range(blocks), blocks // 2)
    found, total = 0.0, 0
    while chunk := list(itertools.islice(splits, max(1, CELLS // len(sums)))):
        inside = np.zeros((len(chunk), blocks))
        np.put_along_axis(inside, np.array(chunk), 1, axis=1)
        found += _overfitted(inside @ sums.T, (1 - inside) @ sums.T, counts)
        total += len(chunk)
    return found / total


def _overfitted(before: np.ndarray, after: np.ndarray, counts: np.ndarray) -> float:
    """Number of splits whose best trial before is no better than the middle after.

    Args:
        before, after: shape (splits, distinct trials), total losses on the two halves of the days.
        counts: shape (distinct trials,), how many trials share those losses.
    """
    weights = counts.astype(float)
    best = before == before.min(axis=1, keepdims=True)
    share = 1 / (best @ weights)
    found = 0.0
    while (rows := np.flatnonzero(best.any(axis=1))).size:  # once, and again for splits where several tie
        chosen = best[rows].argmax(axis=1)
        others = after[rows]
        own = others[np.arange(rows.size), chosen][:, None]
        below = (others > own) @ weights <= (others < own) @ weights
        found += float((below * weights[chosen]) @ share[rows])
        best[rows, chosen] = False
    return found


def _confidence(losses: np.ndarray, horizon: int, seed: int) -> np.ndarray:
    """For each model the largest size at which it is still in the confidence set, shape (models,)."""
    models, days = losses.shape
    losses = np.clip(losses, -1e150, 1e150)  # squares stay finite
    run = _run(days, horizon)
    means = losses.mean(axis=1)
    drawn = (losses - means[:, None]) @ _weights(days, run, seed).T  # (models, replications), about zero
    largest, widening = np.abs(losses).max(axis=1), _widening(days, run)
    deviation, clarity = np.zeros((models, models)), np.zeros((models, models))
    for model in range(models):
        apart = drawn[model] - drawn[model:]
        row = np.sqrt(np.einsum("ij,ij->i", apart, apart) / REPLICATIONS)
        lag = means[model] - means[model:]
        rounding = NEGLIGIBLE * np.maximum(largest[model], largest[model:])
        certain = row <= rounding  # no luck in it: equal, or worse by the same amount every day
        row[certain] = np.inf
        always = np.where(np.abs(lag) <= rounding, 0, np.copysign(np.inf, lag))
        lag = np.where(certain, always, lag / (row * widening))
        deviation[model, model:] = deviation[model:, model] = row
        clarity[model, model:], clarity[model:, model] = lag, -lag
    equal = np.isinf(deviation) & (clarity == 0)

    # Strike off the model that is worst compared with another, and its equals, until all that are left are equal.
    left = np.ones(models, dtype=bool)
    struck: list[np.ndarray] = []
    statistics: list[float] = []
    np.fill_diagonal(clarity, -np.inf)
    while left.sum() > 1:
        worst, other = np.unravel_index(clarity.argmax(), clarity.shape)
        group = np.flatnonzero(left & equal[worst])
        if group.size == left.sum():
            break
        statistics.append(float(clarity[worst, other]))
        struck.append(group)
        left[group] = False
        clarity[group] = clarity[:, group] = -np.inf

    # The largest simulated statistic of a set, from the smallest set to all: each adds its newcomers' pairs.
    order = np.concatenate([np.flatnonzero(left), *reversed(struck)])
    drawn, deviation = drawn[order], deviation[np.ix_(order, order)]
    simulated, done, shares = np.zeros(REPLICATIONS), int(left.sum()), []
    for group, statistic in zip(reversed(struck), reversed(statistics), strict=True):
        for model in range(done, done + group.size):
            apart = np.abs(drawn[model] - drawn[:model]) / deviation[model, :model, None]
            np.maximum(simulated, apart.max(axis=0), out=simulated)
        done += group.size
        shares.append(float(np.mean(simulated > statistic)))
    result = np.ones(models)
    for group, share in zip(struck, np.maximum.accumulate(shares[::-1]), strict=True):
        result[group] = share
    return result


def _weights(days: int, run: int, seed: int) -> np.ndarray:
    """How much each day counts in each replication's mean, shape (replications, days), rows sum to one."""
    from arch.bootstrap import StationaryBootstrap

    bootstrap = StationaryBootstrap(run, np.arange(days), seed=seed)
    drawn = (np.bincount(data[0][0], minlength=days) for data in bootstrap.bootstrap(REPLICATIONS))
    return np.stack(list(drawn)) / days


def _run(days: int, horizon: int) -> int:
    """Mean length of the runs of days that are drawn together."""
    return max(math.ceil(days ** (1 / 3)), 2 * horizon)


def _widening(days: int, run: int) -> float:
    """By how much a mean truly varies more than it does when drawn in runs, were the days independent."""
    return math.sqrt(days / (days - 2 * run + 1))


def _checked(losses: np.ndarray, horizon: int, least: int) -> np.ndarray:
    """The losses as floats, shape (trials, days), or the reason why no test can be made of them."""
    assert horizon >= 1
    losses = np.asarray(losses, dtype=float)
    trials, days = losses.shape
    if trials < least:
        raise Undefined("one trial only" if trials else "no trials")
    needed = max(DAYS, 8 * horizon)
    if days < needed:
        raise Undefined(f"{days} days, at least {needed} are needed")
    if not np.isfinite(losses).all():
        raise Undefined("a loss is not finite")
    return losses
