"""Test whether the best of many trials is better than chance (SPA, model confidence set, backtest overfitting).

Each function takes the losses of trials, shape (trials, days): any loss where smaller is better, for example the
squared error in price points squared. All rows are for the same consecutive sessions, in time order. `horizon` is the
number of sessions between a forecast and its target; above one, errors overlap and are correlated.

`spa` and `model_confidence_set` use the stationary bootstrap (Politis & Romano, 1994, doi
10.1080/01621459.1994.10476870), which resamples blocks of consecutive days and so preserves their correlation. The mean
block length is the cube root of the number of days or twice the horizon, whichever is larger. The bootstrap
underestimates the variance of a mean, more so for longer blocks: for independent days by the factor
1 - (2 * block - 1) / days. Both tests correct for this factor. These choices come from simulations: with 1 to 200
forecasts exactly as good as persistence, `spa` at 5 % rejects in 4 to 7 % of cases on 750 days, and in 5 to 10 % on 40
to 60 days and with horizons of 5 and 20.

All functions raise `UndefinedTestError` if the test is undefined for the losses.
"""

import itertools
import math

import numpy as np

__all__ = ["MIN_DAYS", "UndefinedTestError", "backtest_overfitting", "model_confidence_set", "spa"]

MIN_DAYS = 40
MIN_DAYS_PER_BLOCK = 5
REPLICATIONS = 1_000
NEGLIGIBLE = 1e-10  # smaller differences of losses, as a share of the larger loss, are rounding errors of prices
MAX_CELLS = 2**20  # splits times trials in memory at once, 8 MiB per array


class UndefinedTestError(ValueError):
    """A test is undefined for these losses; the message is one short clause for the user, such as "one trial only"."""


def spa(losses: np.ndarray, rival: np.ndarray, *, horizon: int = 1, seed: int = 0) -> float:
    """Return the p-value of superior predictive ability; small if at least one forecast is truly better than the rival.

    The best of many forecasts has a lead by chance. The test compares this lead with the largest lead of as many
    forecasts that are not better than the rival. The consistent p-value of the paper leaves out forecasts that are too
    bad to matter. Other bad forecasts weaken the test, so pass only real candidates. Each forecast's lead, the rival's
    loss minus its own, is divided by its standard deviation over the days, so that a forecast that diverges on one day
    does not hide the others. The paper suggests the standard deviation of the mean, but it is so noisy that a 5 % test
    rejected in 15 % of cases on 40 days, and in 23 % with a horizon of 20. A forecast with the same lead every day,
    such as the rival itself, has a standard deviation of zero and is left out.

    The p-value is 1 if no forecast has a positive mean lead (the paper's statistic is then zero). Its minimum is
    1 / 1,001, because the data count as one of the replications.

    Source: Hansen (2005), A test for superior predictive ability, doi 10.1198/073500105000000063.

    Args:
        losses: shape (forecasts, days), one forecast or more.
        rival: shape (days,), the same loss of the rival (persistence) on the same days.
        horizon: sessions between a forecast and its target.
        seed: the same seed and losses give the same p-value.
    """
    losses = _check_losses(losses, horizon, min_trials=1)
    rival = _check_losses(np.asarray(rival)[None], horizon, min_trials=1)
    assert losses.shape[1] == rival.shape[1]
    scale = np.maximum(np.abs(losses).max(axis=1, keepdims=True), np.abs(rival).max())
    scale[scale == 0] = 1
    leads = rival / scale - losses / scale
    deviation = leads.std(axis=1, keepdims=True)
    varies = deviation[:, 0] > NEGLIGIBLE
    if np.abs(leads).max() <= NEGLIGIBLE:
        raise UndefinedTestError("every forecast is persistence itself")
    if not varies.any():
        raise UndefinedTestError("every forecast's lead is the same each day")
    leads = leads[varies] / deviation[varies]
    mean = leads.mean(axis=1, keepdims=True)
    if mean.max() <= 0:
        return 1.0
    block = _block_length(losses.shape[1], horizon)
    leads = mean + (leads - mean) * _variance_correction(losses.shape[1], block)

    from arch.bootstrap import SPA  # a second, needed only here

    # arch's statistic is the plain mean even if studentized, so the leads are scaled above.
    test = SPA(np.zeros(leads.shape[1]), -leads.T, block_size=block, reps=REPLICATIONS, seed=seed)
    test.compute()
    exceeding = round(float(test.pvalues["consistent"]) * REPLICATIONS)
    return (exceeding + 1) / (REPLICATIONS + 1)


def model_confidence_set(losses: np.ndarray, *, size: float = 0.10, horizon: int = 1, seed: int = 0) -> np.ndarray:
    """Return the model confidence set, which contains the best model with a probability of at least 1 - size.

    Until the remaining models are plausibly equal, the test eliminates the model that is most clearly worse than
    another (the range statistic of the paper, over all pairs). Models with equal losses are treated equally; a model
    that is worse than another by the same amount every day is eliminated. In simulations of 40 equally good models on
    750 days, the set contained any given model in 99 % of cases and all models in 85 % (53 % on 60 days).

    The result equals that of `arch.bootstrap.MCS`, `method="R"`, except for the variance correction. That class is not
    used because it divides by zero if two models are equal, and stores replications x models x models numbers, 1.4 GB
    for 200 models and too much for 1,000. Its other method, "max", compares a model with the average of all; its set
    had 9 models of 20 where the range statistic's had 2, and 16 if one model sometimes diverges.

    Source: Hansen, Lunde & Nason (2011), The model confidence set, doi 10.3982/ECTA5771.

    Args:
        losses: shape (models, days), two models or more.
        size: maximum probability that the set misses the best model.
        horizon: sessions between a forecast and its target.
        seed: the same seed and losses give the same set.

    Returns:
        Shape (models,), True for the models in the set, which has at least one.
    """
    assert 0 < size < 1
    losses = _check_losses(losses, horizon, min_trials=2)
    return _confidence(losses, horizon, seed) > size


def backtest_overfitting(losses: np.ndarray, *, blocks: int = 16) -> float:
    """Return the probability of backtest overfitting: how often the best in-sample trial is below the median after.

    The days are cut into blocks of equal length; surplus days at the start are dropped. For every choice of half of the
    blocks, the trial with the smallest mean loss on them is ranked among all trials on the other half. The probability
    is the share of choices in which it is not better than the median: the number of worse trials is at most the number
    of better ones (the paper's logit <= 0, with average ranks for ties; trials that tie for the smallest loss count in
    equal parts). It is near 0 if the best trial is truly the best, and about 0.5 if all trials are equally good
    ((trials + 1) / (2 * trials) for an odd number of trials, because the median trial counts).

    Source: Bailey, Borwein, Lopez de Prado & Zhu (2016), The probability of backtest overfitting, doi
    10.21314/JCF.2016.322: combinatorially symmetric cross-validation, with the mean loss for the Sharpe ratio.

    Args:
        losses: shape (trials, days), two trials or more.
        blocks: an even number, at least 4; 16 blocks give 12,870 splits, 20 give 184,756. It is reduced if a block
            would have fewer than five days.
    """
    assert blocks >= 4
    assert blocks % 2 == 0
    losses = _check_losses(losses, horizon=1, min_trials=2)
    days = losses.shape[1]
    blocks = min(blocks, days // MIN_DAYS_PER_BLOCK // 2 * 2)
    length = days // blocks
    cut = losses[:, days - blocks * length :] * 2.0**-32  # exact, a power of two; prevents overflow of sums
    sums, counts = np.unique(cut.reshape(-1, blocks, length).sum(axis=2), axis=0, return_counts=True)
    if len(sums) == 1:
        raise UndefinedTestError("all trials have the same losses")
    splits = itertools.combinations(range(blocks), blocks // 2)
    overfitted, total = 0.0, 0
    while chunk := list(itertools.islice(splits, max(1, MAX_CELLS // len(sums)))):
        inside = np.zeros((len(chunk), blocks))
        np.put_along_axis(inside, np.array(chunk), 1, axis=1)
        overfitted += _count_overfitted(inside @ sums.T, (1 - inside) @ sums.T, counts)
        total += len(chunk)
    return overfitted / total


def _count_overfitted(before: np.ndarray, after: np.ndarray, counts: np.ndarray) -> float:
    """Return the number of splits in which the best trial on the first half is not above the median on the other.

    Args:
        before, after: shape (splits, distinct trials), total losses on the two halves of the days.
        counts: shape (distinct trials,), number of trials with these losses.
    """
    weights = counts.astype(float)
    best = before == before.min(axis=1, keepdims=True)
    share = 1 / (best @ weights)
    overfitted = 0.0
    while (rows := np.flatnonzero(best.any(axis=1))).size:  # one pass, plus one for each further tied trial
        chosen = best[rows].argmax(axis=1)
        others = after[rows]
        own = others[np.arange(rows.size), chosen][:, None]
        below = (others > own) @ weights <= (others < own) @ weights
        overfitted += float((below * weights[chosen]) @ share[rows])
        best[rows, chosen] = False
    return overfitted


def _confidence(losses: np.ndarray, horizon: int, seed: int) -> np.ndarray:
    """Return for each model the largest size at which it is in the confidence set, shape (models,)."""
    models, days = losses.shape
    losses = np.clip(losses, -1e150, 1e150)  # keeps squares finite
    block = _block_length(days, horizon)
    means = losses.mean(axis=1)
    drawn = (losses - means[:, None]) @ _weights(days, block, seed).T  # (models, replications), centered at zero
    largest, correction = np.abs(losses).max(axis=1), _variance_correction(days, block)
    deviation, clarity = np.zeros((models, models)), np.zeros((models, models))
    for model in range(models):
        apart = drawn[model] - drawn[model:]
        row = np.sqrt(np.einsum("ij,ij->i", apart, apart) / REPLICATIONS)
        lag = means[model] - means[model:]
        rounding = NEGLIGIBLE * np.maximum(largest[model], largest[model:])
        certain = row <= rounding  # the models are equal, or differ by the same amount every day
        row[certain] = np.inf
        always = np.where(np.abs(lag) <= rounding, 0, np.copysign(np.inf, lag))
        lag = np.where(certain, always, lag / (row * correction))
        deviation[model, model:] = deviation[model:, model] = row
        clarity[model, model:], clarity[model:, model] = lag, -lag
    equal = np.isinf(deviation) & (clarity == 0)

    # Eliminate the model that is worst compared with another, and its equals, until all remaining models are equal.
    left = np.ones(models, dtype=bool)
    eliminated: list[np.ndarray] = []
    statistics: list[float] = []
    np.fill_diagonal(clarity, -np.inf)
    while left.sum() > 1:
        worst, other = np.unravel_index(clarity.argmax(), clarity.shape)
        group = np.flatnonzero(left & equal[worst])
        if group.size == left.sum():
            break
        statistics.append(float(clarity[worst, other]))
        eliminated.append(group)
        left[group] = False
        clarity[group] = clarity[:, group] = -np.inf

    # Compute the simulated maximum of each set, from the smallest to all models: each set adds pairs to the last one.
    order = np.concatenate([np.flatnonzero(left), *reversed(eliminated)])
    drawn, deviation = drawn[order], deviation[np.ix_(order, order)]
    simulated, done, shares = np.zeros(REPLICATIONS), int(left.sum()), []
    for group, statistic in zip(reversed(eliminated), reversed(statistics), strict=True):
        for model in range(done, done + group.size):
            apart = np.abs(drawn[model] - drawn[:model]) / deviation[model, :model, None]
            np.maximum(simulated, apart.max(axis=0), out=simulated)
        done += group.size
        shares.append(float(np.mean(simulated > statistic)))
    result = np.ones(models)
    for group, share in zip(eliminated, np.maximum.accumulate(shares[::-1]), strict=True):
        result[group] = share
    return result


def _weights(days: int, block: int, seed: int) -> np.ndarray:
    """Return the weight of each day in each replication's mean, shape (replications, days); rows sum to one."""
    from arch.bootstrap import StationaryBootstrap

    bootstrap = StationaryBootstrap(block, np.arange(days), seed=seed)
    drawn = (np.bincount(data[0][0], minlength=days) for data in bootstrap.bootstrap(REPLICATIONS))
    return np.stack(list(drawn)) / days


def _block_length(days: int, horizon: int) -> int:
    """Return the mean length in days of the bootstrap's blocks."""
    cube_root: float = days ** (1 / 3)
    return max(math.ceil(cube_root), 2 * horizon)


def _variance_correction(days: int, block: int) -> float:
    """Return the true over the bootstrap's standard deviation of a mean of independent days."""
    return math.sqrt(days / (days - 2 * block + 1))


def _check_losses(losses: np.ndarray, horizon: int, min_trials: int) -> np.ndarray:
    """Return the losses as floats, shape (trials, days); raise UndefinedTestError if no test is possible."""
    assert horizon >= 1
    losses = np.asarray(losses, dtype=float)
    trials, days = losses.shape
    if trials < min_trials:
        raise UndefinedTestError("one trial only" if trials else "no trials")
    needed = max(MIN_DAYS, 8 * horizon)
    if days < needed:
        raise UndefinedTestError(f"{days} days, at least {needed} are needed")
    if not np.isfinite(losses).all():
        raise UndefinedTestError("a loss is not finite")
    return losses
