"""Format the plan of a study, the text of `--dry-run`: space, folds, size and estimated cost."""

from collections.abc import Sequence

from search.common.messages import format_epochs, one_line
from search.cost.estimate import Cost, estimate_cost
from search.space.space import Space
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.prices.series import Prices

__all__ = ["Plan", "plan", "plan_several"]

Plan = tuple[Space, Prices | None, WalkForward | None]  # of a study; None without prices
INDENT = " " * 8
RAY_START = "about 10 seconds until the first trial starts on Ray on this machine"  # docs/benchmarks.md


def plan(space: Space, prices: Prices | None, splits: WalkForward | None) -> str:
    """Return the space with its defaults, the folds with their dates, the size of the study and its estimated cost.

    Args:
        space: the study's space.
        prices: None if they are not available.
        splits: None if the prices are not available.
    """
    validation, scheduler = space.validation, space.scheduler
    networks = validation.folds * validation.seeds
    lines = [space.as_yaml(), *_folds(space, prices, splits)]
    rungs = format_epochs(scheduler.rungs)
    lines.append(
        f"study:  {space.num_samples} trials of {networks} networks ({validation.folds} folds x {validation.seeds} "
        f"seeds), at most {scheduler.max_epochs} epochs"
        + (f", stopped early at {rungs}" if rungs else ", none stopped early")
        + f": at most {space.num_samples * networks} networks"
    )
    if space.num_samples < space.requested_samples:
        lines.append(
            f"        the space has only {space.num_samples} different points: each is tried once, and the search ends "
            f"before search.num_samples, {space.requested_samples}"
        )
    if space.search.finalists:
        count, seeds = space.search.finalists, space.search.finalist_seeds
        lines.append(f"then:   {count} finalists of {seeds} networks each, evaluated once on the test set")
    return "\n".join([*lines, *_cost(space, estimate_cost(space, splits))])


def plan_several(plans: Sequence[Plan]) -> str:
    """Return a line with the size and the cost of each study, and their total."""
    lines, seconds, unknown = [], [0.0, 0.0], 0
    for space, prices, splits in plans:
        cost = estimate_cost(space, splits)
        sessions = "no prices" if prices is None else f"{len(prices):,} sessions to {prices.dates[-1]}"
        series = one_line(prices.source if prices else space.data.ticker or space.data.source)
        size = f"{space.num_samples} trials, {space.search.finalists} finalists"
        lines.append(f"{space.name}: {series}, {sessions}; {size}; {_span(*cost.core_seconds) if cost else 'unknown'}")
        unknown += cost is None
        seconds = [total + each for total, each in zip(seconds, cost.core_seconds if cost else (0, 0), strict=True)]
    total = f"{_span(seconds[0], seconds[1])} of one CPU core, with the finalists" + (
        f"; {unknown} of them without prices are not included" if unknown else ""
    )
    return "\n".join(
        [
            *lines,
            f"in total: {len(plans)} studies, one after another on one Ray; {total}",
            f"start:    {RAY_START}",
            "The plan of one study has its folds and all settings: use --dry-run with one series.",
        ]
    )


def _folds(space: Space, prices: Prices | None, splits: WalkForward | None) -> list[str]:
    if prices is None or splits is None:
        validation = space.validation
        sessions = "all sessions" if validation.train_size is None else f"the {validation.train_size} sessions"
        return [
            one_line(f"prices: {space.data.source} {space.data.ticker or ''}") + ", not available: no dates",
            f"folds:  {validation.folds} of {validation.fold_size} sessions, each trained on {sessions} before it",
            f"test:   the last {space.data.test_size} sessions, not used by the search",
        ]

    def dates(block: range) -> str:
        return f"{prices.dates[block.start]} to {prices.dates[block.stop - 1]} ({len(block)} sessions)"

    return [
        one_line(f"prices: {prices.source}") + f", {len(prices)} sessions, {prices.dates[0]} to {prices.dates[-1]}",
        *(
            f"fold {number}: train {dates(fold.train)}, validate {dates(fold.validation)}"
            for number, fold in enumerate(splits.folds, start=1)
        ),
        f"test:   {dates(splits.test)}, not used by the search",
    ]


def _cost(space: Space, cost: Cost | None) -> list[str]:
    if cost is None:
        return ["cost:   unknown without prices: each fold trains on all sessions before it"]
    epochs, spans = cost.epochs, [f"{_span(*cost.core_seconds)} of one CPU core, by the cost model"]
    if space.resources.gpu or any(entry.gpu for entry in space.resources.when):
        spans.insert(0, f"{_span(*cost.gpu_seconds)} of one GPU at 10 to 1 TFLOP/s, which is assumed, not measured; or")
    likely = f"{epochs.maximum:,} epochs"
    if epochs.minimum < epochs.maximum:
        likely = f"about {epochs.expected:,.0f} epochs ({epochs.minimum:,} to {epochs.maximum:,}, by early stops)"
    return [
        f"cost:   {likely}; with the finalists {_operations(cost.operations)}, an estimate:",
        *(INDENT + span for span in spans),
        f"{INDENT}and {RAY_START}",
    ]


def _operations(count: float) -> str:
    for size, name in ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP")):
        if count >= size:
            return f"{_rounded(count / size)} {name}"
    return f"{_rounded(count / 1e9)} GFLOP"


def _span(least: float, most: float) -> str:
    """Return two times in seconds as a range, in a unit that suits both."""
    for size, unit in ((3600, "hours"), (60, "minutes"), (1, "seconds")):
        if least >= size or unit == "seconds":
            break
    return f"{_rounded(least / size)} to {_rounded(most / size)} {unit}"


def _rounded(number: float) -> str:
    """Return a number with two significant digits: an estimate has no more."""
    return f"{float(f'{number:.1e}'):,.{0 if number >= 10 else 1}f}"
