"""Test values and sizes of domains, grids, and spaces that are written and read again."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.space.domains import DomainError, parse_parameter, parse_value
from search.space.parameters import FIELDS, Parameter, Value, grid_points, grid_size
from search.space.space import Space, SpaceError, load_space
from search.space.yaml_reader import yaml_text
from stockrnn.dataset.config import FEATURE_NAMES, FEATURE_SETS
from stockrnn.dataset.features import MAX_ROLLING_SESSIONS, MIN_ROLLING_SESSIONS, ROLLING

SPACES = sorted((Path(__file__).parents[3] / "spaces").glob("*.yaml"))
ROUND_TRIP = settings(deadline=None, database=None, max_examples=100)
ARBITRARY = settings(
    deadline=None,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def parameter(name: str, raw: object) -> Parameter:
    return parse_parameter(name, raw, {})


@pytest.mark.parametrize(
    ("name", "raw", "inside", "outside"),
    [
        ("hidden_size", 8, [8], [7, 8.5, True, "8", None]),
        ("hidden_size", [4, 8], [4, 8], [6, "4"]),
        ("num_layers", [1, 2], [1], [True]),
        ("bidirectional", [True, False], [True, False], [1, 0]),
        ("gradient_clip", [None, 1.0], [None, 1.0, 1], [0.5]),
        ("hidden_size", {"int": [4, 64], "log": True}, [4, 5, 64], [3, 65, 4.5, True, "4", None]),
        ("hidden_size", {"int": [4, 10], "step": 3}, [4, 7, 10], [5, 11, 13]),
        ("dropout", {"float": [0, 0.5]}, [0, 0.0, 0.25, 0.5], [-0.1, 0.6, float("nan"), False]),
        ("dropout", {"float": [0.1, 0.7], "step": 0.2}, [0.1, 0.3, 0.5, 0.7, 0.1 + 0.2], [0.2, 0.9]),
    ],
)
def test_contains(name: str, raw: object, inside: list[Any], outside: list[Any]) -> None:
    domain = parameter(name, raw)
    assert [value for value in inside if not domain.contains(value)] == []
    assert [value for value in outside if domain.contains(value)] == []


@pytest.mark.parametrize(
    ("name", "raw", "values"),
    [
        ("head", "last", ("last",)),
        ("head", ["last", "mean"], ("last", "mean")),
        ("hidden_size", {"int": [1, 4]}, (1, 2, 3, 4)),
        ("hidden_size", {"int": [4, 10], "step": 3}, (4, 7, 10)),
        ("hidden_size", {"int": [1, 3], "log": True}, (1, 2, 3)),
        ("dropout", {"float": [0.1, 0.7], "step": 0.2}, (0.1, 0.3, 0.5, 0.7)),
        ("learning_rate", {"float": [1e-14, 3e-14], "step": 1e-14}, (1e-14, 2e-14, 3e-14)),
        ("dropout", {"float": [0, 0.5]}, None),
        ("features", ["ohlc", ["open", "close"]], ("ohlc", "open,close")),
        ("features", [["close", "volume"], ["open", "close"]], ("close_volume", "open,close")),
    ],
)
def test_all_values_of_a_domain(name: str, raw: object, values: tuple[Value, ...] | None) -> None:
    domain = parameter(name, raw)
    assert domain.all_values() == values
    assert domain.size == (None if values is None else len(values))
    assert all(domain.contains(value) for value in values or ())
    assert [type(value) for value in domain.all_values() or ()] == [type(value) for value in values or ()]


def test_a_choice_with_one_value_is_a_constant() -> None:
    assert parameter("head", ["last"]) == parameter("head", {"choice": ["last"]}) == parameter("head", "last")
    assert not parameter("features", [["open", "close"]]).varies


def test_a_value_of_features_may_be_a_list_of_columns() -> None:
    assert parse_value("features", ["close", "volume"]) == "close_volume"
    assert parse_value("features", ["volume", "close"]) == "volume,close"


def test_an_error_has_the_key_of_the_wrong_part() -> None:
    with pytest.raises(DomainError) as caught:
        parameter("hidden_size", {"int": [4, 8.5]})
    assert caught.value.key == ("int", 1)


def space_of(entries: dict[str, Any]) -> tuple[Parameter, ...]:
    parameters: dict[str, Parameter] = {}
    for name, raw in entries.items():
        parameters[name] = parse_parameter(name, raw, parameters)
    return tuple(parameters.values())


GRIDS: list[tuple[dict[str, Any], int]] = [
    ({"architecture": "lstm"}, 1),
    ({"architecture": ["rnn", "lstm"], "hidden_size": {"int": [1, 3]}}, 2 * 3),
    # one layer: no dropout; two or three: four values of it
    ({"num_layers": {"int": [1, 3]},
      "dropout": {"float": [0.1, 0.4], "step": 0.1, "when": {"num_layers": [2, 3]}}},
     1 + 2 * 4),
    # a chain: gru 1; lstm x (last 1, mean x 2 sizes)
    ({"architecture": ["gru", "lstm"],
      "head": {"choice": ["last", "mean"], "when": {"architecture": "lstm"}},
      "hidden_size": {"choice": [4, 8], "when": {"head": "mean"}}}, 1 + 1 + 2),
    # both conditions hold in one of four combinations
    ({"architecture": ["gru", "lstm"], "head": ["last", "mean"],
      "hidden_size": {"int": [1, 5], "when": {"architecture": "lstm", "head": "mean"}}}, 3 + 5),
    # a condition on a constant that exists only for lstm
    ({"architecture": ["gru", "lstm"], "num_layers": {"choice": [2], "when": {"architecture": "lstm"}},
      "dropout": {"choice": [0.1, 0.2], "when": {"num_layers": 2}}}, 1 + 2),
    # the same value named twice
    ({"architecture": ["gru", "lstm"],
      "head": {"choice": ["last", "mean"], "when": {"architecture": ["gru", "gru"]}}},
     2 + 1),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "count"), GRIDS)
def test_a_grid_has_the_points_counted_by_hand(entries: dict[str, Any], count: int) -> None:
    parameters = space_of(entries)
    points = list(grid_points(parameters))
    assert len(points) == grid_size(parameters) == count
    assert len({tuple(point.items()) for point in points}) == count
    varying = {parameter.name for parameter in parameters if parameter.varies}
    assert all(set(point) <= varying for point in points)


def test_a_grid_point_has_only_parameters_that_exist_there() -> None:
    parameters = space_of({"num_layers": [1, 2], "dropout": {"choice": [0.1, 0.2], "when": {"num_layers": 2}}})
    assert list(grid_points(parameters)) == [
        {"num_layers": 1},
        {"num_layers": 2, "dropout": 0.1},
        {"num_layers": 2, "dropout": 0.2},
    ]


def test_the_size_of_a_large_grid_needs_no_loop_over_its_points() -> None:
    parameters = space_of(
        {
            "batch_size": {"int": [1, 1_000_000]},
            "hidden_size": {"int": [1, 4096]},
            "dropout": {"float": [0, 0.5], "step": 1e-9, "when": {"batch_size": [1, 2]}},
        }
    )
    assert grid_size(parameters) == 4096 * (2 * 500_000_001 + 999_998)


def test_an_infinite_grid_has_no_size() -> None:
    assert grid_size(space_of({"hidden_size": [1, 2], "dropout": {"float": [0, 0.5]}})) is None


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.name)
def test_a_space_with_its_defaults_reads_back_equal(tmp_path: Path, path: Path) -> None:
    space = load_space(str(path))
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(space.as_yaml(), encoding="utf-8")
    again = load_space(str(resolved))
    assert again == space
    assert again.as_yaml() == space.as_yaml()


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Values that a parameter accepts."""
    schema = FIELDS[name].model_json_schema()["properties"][name]
    if name == "features":
        rolling = st.builds(
            "{}_{}".format, st.sampled_from(list(ROLLING)), st.integers(MIN_ROLLING_SESSIONS, MAX_ROLLING_SESSIONS)
        )
        features = st.lists(st.sampled_from(FEATURE_NAMES[:-3] + FEATURE_NAMES[-1:]) | rolling, min_size=1, unique=True)
        return st.sampled_from(sorted(FEATURE_SETS)) | features
    if name == "gradient_clip":
        return st.none() | st.floats(1e-9, 1e9)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    low, high = schema.get("minimum", 1e-12), schema.get("maximum", 0.999)
    return st.floats(low, high)


@st.composite
def domains(draw: st.DrawFn, name: str, earlier: dict[str, Any]) -> Any:
    """Domains of a parameter, as in a space file."""
    value = values_of(name)
    one, two = draw(value), draw(value)
    numbers = all(type(end) in (int, float) for end in (one, two)) and one != two
    form = draw(st.sampled_from(["constant", "choice", "range"] if numbers else ["constant", "choice"]))
    if form == "constant":
        return [one] if isinstance(one, list) else one
    domain: dict[str, Any]
    if form == "choice":
        domain = {"choice": draw(st.lists(value, min_size=1, max_size=3, unique_by=str))}
    else:
        low, high = sorted((one, two))
        domain = {"int" if isinstance(low, int) else "float": [low, high]}
        if low > 0 and draw(st.booleans()):
            domain["log"] = True
        elif isinstance(low, int) and draw(st.booleans()):
            domain["step"] = high - low
    if other := draw(st.sampled_from(["", *sorted(earlier)])):
        named = earlier[other]
        value_of_other = next(iter(named.values()))[0] if isinstance(named, dict) else named
        domain["when"] = {other: value_of_other if isinstance(named, list) else [value_of_other]}
    return domain


@st.composite
def space_files(draw: st.DrawFn) -> dict[str, Any]:
    """Random spaces: some parameters in a random order, architecture among them."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=5))
    space: dict[str, Any] = {}
    for name in dict.fromkeys(["architecture", *names]):
        space[name] = draw(domains(name, space))
    return {"name": draw(st.sampled_from(["study", "2024", "1e5", "null", "2024-01-31"])), "space": space}


@pytest.mark.slow
@ROUND_TRIP
@given(space_files())
def test_random_spaces_read_back_equal(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "random_space.yaml"
    path.write_text(yaml_text(data), encoding="utf-8")
    space = read(path)
    if isinstance(space, Space):
        path.write_text(space.as_yaml(), encoding="utf-8")
        assert read(path) == space
    else:  # features by name and by columns, or choices of another task
        assert all("is repeated" in problem or "does not fit data.task" in problem for problem in space)


WORDS = [
    "name", "data", "validation", "space", "search", "scheduler", "resources", "seed", "initial", "sampler",
    "source", "features", "num_samples", "when", "int", "float", "choice", "log", "step", *FIELDS,
]  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([*WORDS, "lstm", "grid", "gp", "nasdaq", "~nobody/x", "\x00", "\ud800", "x" * 300])
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=5)
        | st.fixed_dictionaries({"int": st.lists(inner, min_size=2, max_size=2)})
    ),
    max_leaves=25,
)
SECTIONED = st.fixed_dictionaries(
    {
        "space": st.fixed_dictionaries(
            {"architecture": st.just("lstm")},
            optional={name: NESTED for name in FIELDS if name != "architecture"},
        )
    },
    optional={name: NESTED for name in WORDS[:8] if name != "space"},
)


def read(path: Path, *overrides: tuple[str, str, str]) -> Space | tuple[str, ...]:
    """Return the space, or its problems."""
    try:
        return load_space(str(path), overrides)
    except SpaceError as error:
        return error.problems


def assert_a_space_or_problems(path: Path) -> None:
    outcome = read(path)
    if isinstance(outcome, Space):
        path.write_text(outcome.as_yaml(), encoding="utf-8")
        assert read(path) == outcome
        return
    assert outcome
    for problem in outcome:
        assert problem.startswith(f"{path}:")
        assert problem.isprintable()


@ARBITRARY
@given(st.text() | st.text(alphabet="{}[]:,-&*!|>'\"%@`#? \n\t\\xU0a1~<="))
def test_arbitrary_text_raises_space_errors_only(tmp_path: Path, text: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    assert_a_space_or_problems(path)


@pytest.mark.slow
@ARBITRARY
@given(NESTED | SECTIONED)
def test_arbitrary_data_raises_space_errors_only(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8", errors="surrogatepass")
    assert_a_space_or_problems(path)


@ARBITRARY
@given(st.text(max_size=40), NESTED | st.text())
def test_arbitrary_options_raise_space_errors_only(tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("space: {architecture: lstm}\n", encoding="utf-8")
    text = value if isinstance(value, str) else yaml.safe_dump(value)
    outcome = read(path, (name, text, f"--set {name}={text}"), (f"space.{name}", text, "--set"))
    assert isinstance(outcome, Space) or all(problem.isprintable() for problem in outcome)
