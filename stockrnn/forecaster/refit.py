"""Retrain a finalist's configuration on all sessions of a series."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.forecaster.adaptive import extend_record
from stockrnn.forecaster.files import COPY_AGAIN, ForecasterError, get_value
from stockrnn.forecaster.forecaster import Forecaster
from stockrnn.io.files import line
from stockrnn.prices.series import Prices
from stockrnn.training.config import TrainingConfig
from stockrnn.training.trainer import train

__all__ = ["refit"]

MODES = ("batched", "looped")


def refit(forecaster: Forecaster, prices: Prices, manifest: Mapping[str, Any]) -> Forecaster:
    """Return a forecaster with the same configuration, seeds and epochs, trained on all sessions of a series.

    The intervals of one width stay those of the study. Its validation forecasts are followed by those of the given
    forecaster on the sessions after its training, on which the new networks are trained.

    Args:
        forecaster: of the study.
        prices: a clean series with all inputs, usually that of the study with newer sessions. With a sliding window of
            the study, the last `validation.train_size` sessions are used.
        manifest: content of the study's `manifest.json`; it has the optimizer's settings.

    Raises:
        ForecasterError: the manifest does not fit the forecaster, the series is too short, or a network diverged.
    """
    facts, window = forecaster.facts, forecaster.window
    training = _training_config(manifest, facts.trial_id)
    space = manifest.get("space")
    validation, lockstep = (
        get_value(get_value(space, "validation"), "train_size"),
        get_value(get_value(space, "training"), "lockstep"),
    )
    seed = manifest.get("seed")
    for name, value, lowest in (("seed", seed, 0), ("space.validation.train_size", validation or 1, 1)):
        if type(value) is not int or not lowest <= value < 2**32:
            raise ForecasterError(f"manifest.json: {name}: must be a whole number from {lowest}; {COPY_AGAIN}")
    assert isinstance(seed, int)
    sessions = len(prices)
    part = range(max(0, sessions - validation) if validation else 0, sessions)
    # Nothing is validated; the trainer needs a block, which does not influence the weights.
    windows = Windows(prices, [Fold(train=part, validation=range(sessions - 1, sessions))], window, forecaster.horizon)
    if not len(windows.train_origins(0)):
        raise ForecasterError(
            f"{prices.source}: {sessions} sessions are too few to train on; a window has {window.sequence_length} "
            f"sessions, and its target is {forecaster.horizon} later; use a longer series"
        )
    *_, last = train(
        windows, forecaster.network, training, seeds=forecaster.seeds, max_epochs=facts.epochs, study_seed=seed,
        forecast_from=facts.epochs, mode=lockstep if lockstep in MODES else None,
    )  # fmt: skip
    return Forecaster.from_training(
        windows, last.members, correction=float(last.corrections[0]), intervals=forecaster.intervals,
        rival_intervals=forecaster.rival_intervals,
        rank=facts.rank, trial_id=facts.trial_id, epochs=facts.epochs,
        span=(str(prices.dates[part.start]), str(prices.dates[-1])), provenance=prices.provenance, asked=facts.asked,
        validation=extend_record(forecaster, prices) or forecaster.validation,
    )  # fmt: skip


def _training_config(manifest: Mapping[str, Any], trial_id: str) -> TrainingConfig:
    openings = manifest.get("test_openings")
    for opening in reversed(openings if isinstance(openings, list) else []):
        finalists = get_value(opening, "finalists")
        for finalist in finalists if isinstance(finalists, list) else []:
            point = get_value(finalist, "point")
            if get_value(finalist, "trial_id") == trial_id and isinstance(point, dict):
                try:
                    return TrainingConfig.model_validate(
                        {name: point[name] for name in TrainingConfig.model_fields if name in point}
                    )
                except ValidationError as error:
                    first = error.errors(include_url=False)[0]
                    raise ForecasterError(
                        f"manifest.json: {line(first['loc'][0])}: {line(first['msg'])}; {COPY_AGAIN}"
                    ) from None
    raise ForecasterError(
        f"manifest.json: test_openings: has no finalist {line(trial_id)}, whose settings --refit needs; {COPY_AGAIN}"
    )
