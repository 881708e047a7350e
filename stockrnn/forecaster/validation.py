"""Keep the forecasts of a finalist's trial on the validation days, which calibrate intervals of later forecasts."""

from collections.abc import Sequence

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from stockrnn.configuration import Configuration

__all__ = ["ValidationDays"]

MAX_DAYS = 2500  # the last ones; ten years


class ValidationDays(Configuration):
    """Forecasts of networks that were not trained on these days: those of the folds of a finalist's trial.

    In a refitted version, the forecasts of the earlier versions on the sessions after their training follow.

    Attributes:
        dates: of the targets, YYYY-MM-DD, in order.
        forecast: mean over the seeds, in the task's unit.
        actual, rival: actual values and the rival's forecasts.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    dates: tuple[str, ...] = Field(default=(), max_length=MAX_DAYS)
    forecast: tuple[float, ...] = ()
    actual: tuple[float, ...] = ()
    rival: tuple[float, ...] = ()

    @classmethod
    def of(cls, dates: np.ndarray, forecast: np.ndarray, actual: np.ndarray, rival: np.ndarray) -> "ValidationDays":
        """Return the last MAX_DAYS days.

        Args:
            dates: datetime64, shape (days,), in order.
            forecast, actual, rival: shape (days,).
        """
        numbers: Sequence[tuple[float, ...]] = [
            tuple(np.asarray(each, dtype=float)[-MAX_DAYS:].tolist()) for each in (forecast, actual, rival)
        ]
        days = tuple(np.asarray(dates)[-MAX_DAYS:].astype("datetime64[D]").astype(str).tolist())
        return cls(dates=days, forecast=numbers[0], actual=numbers[1], rival=numbers[2])

    @model_validator(mode="after")
    def _days_are_complete(self) -> "ValidationDays":
        if len({len(self.dates), len(self.forecast), len(self.actual), len(self.rival)}) != 1:
            raise ValueError("dates, forecast, actual and rival must have the same length")
        try:
            days = np.array(self.dates, dtype="datetime64[D]")
        except ValueError:
            raise ValueError("dates must be written YYYY-MM-DD") from None
        if not (np.diff(days) > np.timedelta64(0, "D")).all() or tuple(days.astype(str).tolist()) != self.dates:
            raise ValueError("dates must be written YYYY-MM-DD, in order")
        return self
