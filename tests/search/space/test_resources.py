"""Test the resources of a point: conditions, the different demands of a space, and GPU shares."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.cluster.demands import ResourceDemands
from search.space.domains import DomainError, parse_parameter
from search.space.resources import GPU_SHARES, Demand, ResourceRules, double_share, smallest_share
from search.space.sections import ResourcesConfig
from search.space.space import load_space
from stockrnn.evaluation.walk_forward import walk_forward

SPACE = """\
space:
  architecture: [rnn, gru, lstm]
  hidden_size: {int: [4, 512], log: true}
  num_layers: {int: [1, 3]}
  dropout: {float: [0.0, 0.5], when: {num_layers: [2, 3]}}
resources:
  cpu: 2
  when:
  - if: {hidden_size: {min: 128}}
    gpu: 0.25
  - {if: {hidden_size: {min: 256}, num_layers: [2, 3]}, gpu: 0.5, cpu: 4}
  - {if: {dropout: {max: 0.1}}, cpu: 1}
"""


def space_of(folder: Path, text: str = SPACE):
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(str(path))


@pytest.mark.parametrize(
    ("point", "cpu", "gpu"),
    [
        ({"hidden_size": 127, "num_layers": 1}, 2, 0),
        ({"hidden_size": 128, "num_layers": 1}, 2, 0.25),
        ({"hidden_size": 255, "num_layers": 3, "dropout": 0.2}, 2, 0.25),
        ({"hidden_size": 256, "num_layers": 1}, 2, 0.25),
        ({"hidden_size": 256, "num_layers": 2, "dropout": 0.2}, 4, 0.5),
        ({"hidden_size": 256, "num_layers": 2, "dropout": 0.1}, 1, 0.5),
        ({"hidden_size": 4, "num_layers": 2, "dropout": 0.0}, 1, 0),
    ],
)
def test_a_later_entry_replaces_the_values_of_an_earlier_one(tmp_path, point, cpu, gpu):
    demand = space_of(tmp_path).resource_rules.at({"architecture": "gru", **point})
    assert demand == Demand(cpu=cpu, gpu=gpu)


def test_a_demand_has_the_keys_that_set_it(tmp_path):
    demand = space_of(tmp_path).resource_rules.at({"hidden_size": 300, "num_layers": 2, "dropout": 0.05})
    assert demand.cpu_key == ("resources", "when", 2, "cpu")
    assert demand.gpu_key == ("resources", "when", 1, "gpu")


def test_demands_are_all_demands_of_a_space(tmp_path):
    kinds = space_of(tmp_path).resource_rules.demands
    assert {(kind.cpu, kind.gpu) for kind in kinds} == {
        (2, 0), (2, 0.25), (4, 0.5), (1, 0), (1, 0.25), (1, 0.5),
    }  # fmt: skip
    assert len(kinds) == 6


def test_the_rules_of_a_space_read_back_equal(tmp_path):
    space = space_of(tmp_path)
    again = space_of(tmp_path, space.as_yaml())
    assert again == space
    assert again.resource_rules.demands == space.resource_rules.demands


NAMES = ("architecture", "hidden_size", "num_layers", "batch_size")
DOMAINS = st.fixed_dictionaries(
    {
        "architecture": st.just(["rnn", "gru"]),
        "num_layers": st.sampled_from([{"int": [1, 3]}, [1, 3], 2]),
        "hidden_size": st.sampled_from(
            [{"int": [4, 9]}, {"int": [4, 10], "step": 3}, {"int": [4, 6], "when": {"num_layers": [1, 2]}}]
        ),
        "batch_size": st.sampled_from([[16, 32], {"choice": [16, 32], "when": {"hidden_size": [4]}}]),
    }
)
BOUND = st.fixed_dictionaries({}, optional={"min": st.integers(1, 12), "max": st.integers(1, 12)})
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "if": st.dictionaries(st.sampled_from(NAMES[1:]), BOUND | st.integers(1, 32), min_size=1, max_size=2),
            "cpu": st.sampled_from([2.0, 3.0]),
        },
        optional={"gpu": st.sampled_from([0.25, 0.5])},
    ),
    max_size=3,
)


def points(parameters):
    """Yield every point of a finite space, by brute force."""
    for values in itertools.product(*(parameter.all_values() for parameter in parameters)):
        point = {}
        for parameter, value in zip(parameters, values, strict=True):
            if parameter.applies(point):
                point[parameter.name] = value
        yield point


@settings(max_examples=300, deadline=None)
@given(domains=DOMAINS, entries=ENTRIES)
def test_demands_are_those_of_all_points(domains, entries):
    parameters: dict = {}
    for name in ("architecture", "num_layers", "hidden_size", "batch_size"):
        try:
            parameters[name] = parse_parameter(name, domains[name], parameters)
        except DomainError:
            return  # a condition on a value outside a domain
    resources = ResourcesConfig.model_validate({"when": entries})
    try:
        rules = ResourceRules(resources, tuple(parameters.values()))
    except DomainError:
        return  # no point meets a condition; test_space.py tests this
    found = {rules.at(point) for point in points(tuple(parameters.values()))}
    assert set(rules.demands) == found


@pytest.mark.parametrize(
    ("demand", "machine", "fits"),
    [
        (Demand(cpu=1, gpu=0), {"CPU": 8.0}, 8),
        (Demand(cpu=3, gpu=0), {"CPU": 8.0, "GPU": 1.0}, 2),
        (Demand(cpu=0.1, gpu=0), {"CPU": 1.0}, 10),
        (Demand(cpu=1, gpu=0.25), {"CPU": 8.0}, 0),
        (Demand(cpu=1, gpu=0.25), {"CPU": 8.0, "GPU": 1.0}, 4),
        (Demand(cpu=1, gpu=0.4), {"CPU": 8.0, "GPU": 2.0}, 4),  # a share cannot span two GPUs
        (Demand(cpu=1, gpu=0.25), {"CPU": 3.0, "GPU": 1.0}, 3),
        (Demand(cpu=1, gpu=0.1), {"CPU": 32.0, "GPU": 1.0}, 10),
        (Demand(cpu=1, gpu="auto"), {"CPU": 32.0, "GPU": 1.0}, 16),
    ],
)
def test_count_fitting(demand, machine, fits):
    assert demand.count_fitting(machine) == fits


@pytest.mark.parametrize(
    ("needed", "memory", "share"),
    [(1, 16, 1 / 16), (2, 16, 1 / 8), (3, 16, 1 / 4), (8, 16, 1 / 2), (9, 16, 1.0), (99, 16, 1.0)],
)
def test_the_smallest_share_that_fits(needed, memory, share):
    assert smallest_share(needed, memory) == share


def test_a_share_that_was_too_small_grows_to_the_whole_gpu():
    share, seen = GPU_SHARES[0], []
    while share < 1:
        share = double_share(share)
        seen.append(share)
    assert seen == [1 / 8, 1 / 4, 1 / 2, 1.0]
    assert double_share(0.3) == 0.6
    assert double_share(0.6) == 1.0


def test_the_demands_of_the_documentation(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "clusters.md").read_text(encoding="utf-8")
    demands = text.split("```yaml\n")[1].split("```")[0]
    space = space_of(tmp_path, SPACE[: SPACE.index("resources")] + demands)
    assert [space.resource_rules.at({"architecture": "lstm", "hidden_size": size}).gpu for size in (63, 64, 256)] == [
        0,
        0.125,
        0.5,
    ]


AUTO = SPACE[: SPACE.index("resources")] + "resources: {gpu: auto}\n"


def needs(folder, memory, text=AUTO):
    space = space_of(folder, text)
    splits = walk_forward(3000, folds=3, fold_size=250, test_size=250)
    return ResourceDemands(space, splits, 3000, memory)


def test_auto_is_the_cpu_without_a_gpu(tmp_path):
    without = needs(tmp_path, None)
    assert without.at({"architecture": "gru", "hidden_size": 512}).gpu == 0
    assert [kind.gpu for kind in without.kinds] == [0]


def test_auto_is_a_share_that_holds_the_trial_and_its_training_as_a_finalist(tmp_path):
    gb = 10**9
    measured = needs(tmp_path, 8 * gb)
    small = {"architecture": "rnn", "hidden_size": 4}
    large = {"architecture": "lstm", "hidden_size": 512, "num_layers": 3, "batch_size": 512, "sequence_length": 60}
    shares = [measured.at(point).gpu for point in (small, large)]
    assert shares == sorted(shares)
    assert shares[0] < shares[1]
    for point, share in zip((small, large), shares, strict=True):
        assert share in GPU_SHARES
        assert share == 1 or measured.gpu_memory(point) <= share * 8 * gb
        assert share == GPU_SHARES[0] or measured.gpu_memory(point) > share * 8 * gb / 2
    assert needs(tmp_path, 80 * gb).at(large).gpu < shares[1]


def test_the_demand_of_a_point_does_not_depend_on_earlier_points(tmp_path):
    """The device and share of a trial depend only on its point."""
    measured = needs(tmp_path, 8 * 10**9)
    random = np.random.default_rng(0)
    tried = [{"architecture": "lstm", "hidden_size": int(size)} for size in random.integers(4, 512, 20)]
    first = [measured.at(point) for point in tried]
    order = random.permutation(20)
    assert [measured.at(tried[index]) for index in order] == [first[index] for index in order]
