"""Test what a space of each task is, and that what does not fit its task is one line."""

import numpy as np
import pytest

from search.space.space import SpaceError, load_space
from stockrnn.prices.series import Prices

FILE = "name: own\ndata: {{source: nasdaq, task: {task}}}\nspace: {{architecture: [gru], {parameters}}}\n"


@pytest.fixture
def write(tmp_path):
    def write(task, parameters="hidden_size: 8", more=""):
        path = tmp_path / "own.yaml"
        path.write_text(FILE.format(task=task, parameters=parameters) + more, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("task", "target", "loss", "scaling", "features"),
    [
        ("price", "log_return", "mse", "relative", ("open", "high", "low", "close", "volume")),
        ("volatility", "log_variance", "qlike", "standard",
         ("log_range", "log_range_5", "log_range_22", "log_return", "absolute_return")),
        ("direction", "up", "log_loss", "relative", ("log_return", "range", "gap", "weekday_sin", "weekday_cos")),
    ],
)  # fmt: skip
def test_a_task_has_its_own_defaults(write, task, target, loss, scaling, features):
    space = load_space(str(write(task)))
    window, _, training = space.configurations({"architecture": "gru", "hidden_size": 8})
    assert (window.target, training.loss, window.scaling, window.features) == (target, loss, scaling, features)


@pytest.mark.parametrize(
    ("task", "parameters", "line"),
    [
        ("volatility", "target: [log_variance, close]",
         "own.yaml:3: space.target: close does not fit data.task: volatility, whose choices are log_variance"),
        ("volatility", "scaling: relative",
         "own.yaml:3: space.scaling: relative does not fit data.task: volatility, whose choices are standard, minmax"),
        ("price", "loss: [mse, qlike]",
         "own.yaml:3: space.loss: qlike does not fit data.task: price, whose choices are mse, mae, huber"),
        ("direction", "loss: mse",
         "own.yaml:3: space.loss: mse does not fit data.task: direction, whose choices are log_loss"),
    ],
)  # fmt: skip
def test_a_parameter_that_does_not_fit_the_task_is_one_line(write, task, parameters, line):
    with pytest.raises(SpaceError) as raised:
        load_space(str(write(task, parameters)))
    (problem,) = str(raised.value).splitlines()
    assert line in problem


def test_a_metric_of_another_task_is_one_line(write):
    with pytest.raises(SpaceError, match=r"val_qlike is not a metric of data\.task: direction; its metrics"):
        load_space(str(write("direction", more="search: {metric: val_qlike}\n")))


def test_without_high_and_low_the_message_names_the_estimators_that_are_left(write):
    closes = Prices(
        source="closes", dates=np.busday_offset("2001-01-01", np.arange(1500)), columns=("close",),
        values=np.linspace(50.0, 90.0, 1500)[:, None], lines=np.array([], dtype=int),
    )  # fmt: skip
    space = load_space(str(write("volatility"))).adapted_to(closes)
    with pytest.raises(SpaceError, match=r"own\.yaml:2: data\.estimator: parkinson needs .* high .* squared_return"):
        space.split(closes)
    space = load_space(str(write("volatility")), [("data.estimator", "squared_return", "--set")]).adapted_to(closes)
    assert space.features == ("log_return", "absolute_return", "volatility_5", "volatility_22")
    assert len(space.split(closes).folds) == 3
