"""Convert leaderboards and forecasts to pandas DataFrames with the types of their columns."""

from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from search.results.columns import find_column
from search.results.predictions import EARLIER, read_predictions
from search.results.ranking import Row
from search.space.parameters import FIELDS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["leaderboard_frame", "predictions_frame"]

INTEGERS = ("rank", "epochs", "best_epoch", "parameters")


def leaderboard_frame(rows: Sequence[Row], names: Sequence[str]) -> "pd.DataFrame":
    """Return rows of the leaderboard; see `search.Study.leaderboard`."""
    import pandas as pd

    columns = {name: pd.Series([row.get(name) for row in rows], dtype=_dtype(name)) for name in names}
    return pd.DataFrame(columns)


def predictions_frame(folder: Path, split: str | None) -> "pd.DataFrame":
    """Return the forecasts of `predictions.parquet`; see `search.Study.predictions`."""
    import pandas as pd

    table = read_predictions(folder, split)
    table = table.filter([name != EARLIER for name in table["split"].to_pylist()])
    dates = table["date"].to_numpy().astype("datetime64[us]")
    columns: dict[str, Any] = {name: pd.array(table[name].to_pylist(), dtype="str") for name in ("trial_id", "split")}
    columns |= {"fold": table["fold"].to_numpy().astype("int64"), "date": dates}
    columns |= {name: table[name].to_numpy().astype("float64") for name in ("forecast", "actual", "rival")}
    frame = pd.DataFrame(columns)
    return frame.sort_values(["split", "trial_id", "date"], ascending=[False, True, True], ignore_index=True)


def _dtype(name: str) -> Any:
    if name in INTEGERS:
        return "Int64"
    if name == "in_mcs":
        return "boolean"
    if name in FIELDS:
        annotation = FIELDS[name].model_fields[name].annotation
        kinds = {type(kind) if not isinstance(kind, type) else kind for kind in get_args(annotation) or (annotation,)}
        kinds -= {NoneType}
        return {int: "Int64", float: "float64", bool: "boolean"}.get(kinds.pop(), "str") if len(kinds) == 1 else "str"
    return "str" if find_column(name).format == "text" else "float64"
