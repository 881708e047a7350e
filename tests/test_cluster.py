"""Check `cluster.yaml` and the Kubernetes job offline: starts no machine, needs no network."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from stockrnn.io.storage import is_url

ROOT = Path(__file__).parents[1]
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STARTS = {"head": CLUSTER["head_start_ray_commands"], "worker": CLUSTER["worker_start_ray_commands"]}
COMMANDS = [command for name, value in CLUSTER.items() if name.endswith("_commands") for command in value]


def strings(value):
    """Every string in a nested value, keys too."""
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def installed(name):
    """The requirements of that name that the setup commands install."""
    words = [word for command in CLUSTER["setup_commands"] for word in shlex.split(command.replace(";", " "))]
    wanted = [Requirement(word) for word in words if re.match(rf"{name}\b[\[=<>~!]", word)]
    assert wanted, f"nothing installs {name}"
    return wanted


def required(name):
    (found,) = [one for one in map(Requirement, PROJECT["dependencies"]) if one.name == name]
    return found


def ray_start(kind):
    (command,) = [command for command in STARTS[kind] if "ray start" in command]
    return command


@pytest.fixture(scope="module")
def prepared():
    """The file as `ray up` reads it: Ray's defaults filled in, its schema checked."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(CLUSTER)
    validate_config(config)
    return config


@pytest.mark.ray
def test_ray_accepts_the_file(prepared):
    head, *workers = prepared["available_node_types"].values()
    assert (head["min_workers"], head["max_workers"]) == (0, 0)
    assert {worker["min_workers"] for worker in workers} == {0}
    assert sum(worker["max_workers"] for worker in workers) == prepared["max_workers"]


@pytest.mark.ray
def test_ray_s_defaults_add_no_other_ray_and_no_open_port(prepared):
    everything = strings(prepared)
    assert not [text for text in everything if "nightly" in text or "ray-wheels" in text]
    assert not [text for text in everything if "0.0.0.0" in text or re.search(r"host[= ]\[?::", text)]
    assert prepared["head_setup_commands"] == CLUSTER["setup_commands"] + CLUSTER["head_setup_commands"]
    assert prepared["worker_setup_commands"] == CLUSTER["setup_commands"]
    assert "security_group" not in prepared["provider"]  # where more ports would be opened


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_sound_shell(command):
    checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_pins_are_the_project_s():
    (ray,) = installed("ray")
    (pin,) = ray.specifier
    assert pin.operator == "=="
    assert required("ray").specifier.contains(pin.version)
    assert ray.extras >= required("ray").extras
    torch, same = installed("torch")  # with CUDA and without
    assert torch == same
    (pin,) = torch.specifier
    assert pin.operator == "=="
    assert required("torch").specifier.contains(pin.version)


def test_the_project_itself_is_sent_and_installed():
    mounts = CLUSTER["file_mounts"]
    (folder,) = {path.rpartition("/")[0] for path in mounts if "pyproject.toml" in path}
    assert any("install -q " in command and folder in command for command in CLUSTER["setup_commands"])
    own = {local for local in mounts.values() if not local.startswith("~")}
    assert own >= {"pyproject.toml", *PROJECT["license-files"], "search", "stockrnn", "spaces"}
    for local in own:
        assert (ROOT / local).exists()
        assert f"{folder}/{local}" in mounts


def test_no_trial_runs_on_the_head_and_workers_come_and_go():
    assert CLUSTER["head_node_type"] == "head"
    assert CLUSTER["available_node_types"]["head"]["resources"] == {"CPU": 0}
    assert CLUSTER["idle_timeout_minutes"] > 0


def test_there_are_workers_with_and_without_a_gpu_on_spot_machines():
    types = CLUSTER["available_node_types"]
    assert [types[name]["resources"].get("GPU", 0) for name in ("cpu-worker", "gpu-worker")] == [0, 1]
    for name in ("cpu-worker", "gpu-worker"):
        assert types[name]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    fallback = types["gpu-worker-on-demand"]
    assert "InstanceMarketOptions" not in fallback["node_config"]
    assert fallback["resources"] == types["gpu-worker"]["resources"]


def test_results_go_to_a_bucket():
    outputs = re.findall(r"--output (\S+)", (ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    assert outputs
    assert all(is_url(output) for output in outputs)


@pytest.mark.parametrize("kind", STARTS)
def test_ray_starts_with_the_token_only(kind):
    assert re.search(r"RAY_AUTH_MODE=token \S*ray start", ray_start(kind))
    assert CLUSTER["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in command for command in CLUSTER["setup_commands"])


def test_the_dashboard_answers_the_head_alone():
    assert re.findall(r"--dashboard-host[= ](\S+)", ray_start("head")) == ["127.0.0.1"]
    assert not re.search(r"--(dashboard|ray-client|node-ip)", ray_start("worker"))


def test_workers_look_where_the_head_listens():
    (port,) = re.findall(r" --port=(\d+)", ray_start("head"))
    assert f"--address=$RAY_HEAD_IP:{port} " in ray_start("worker") + " "


JOB = yaml.safe_load((ROOT / "docs" / "rayjob.yaml").read_text(encoding="utf-8"))
QUANTITY = {"enum": ["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"]}


def only(required=(), **fields):
    """The schema of a mapping with these fields and no other."""
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


TEXT, COUNT, TEXTS = (
    {"type": "string"},
    {"type": "integer", "minimum": 0},
    {"type": "array", "items": {"type": "string"}},
)
PARAMETERS = {"type": "object", "additionalProperties": TEXT}  # Ray's own, all of them text
QUANTITIES = {"type": "object", "propertyNames": QUANTITY, "additionalProperties": {"type": ["string", "integer"]}}
CONTAINER = only(
    ["name", "image", "resources"], name=TEXT, image=TEXT, resources=only(limits=QUANTITIES, requests=QUANTITIES)
)
POD = only(["spec"], spec=only(["containers"], containers={"type": "array", "minItems": 1, "items": CONTAINER}))
WORKERS = only(
    ["groupName", "rayStartParams", "template"], groupName=TEXT, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT,
    rayStartParams=PARAMETERS, template=POD,
)  # fmt: skip
RAY_JOB = only(  # the fields of ray.io/v1 that the manifest uses, as KubeRay's resource definition has them
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"}, kind={"const": "RayJob"}, metadata=only(["name"], name=TEXT),
    spec=only(
        ["entrypoint", "rayClusterSpec"], entrypoint=TEXT, shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=only(
            ["rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"], rayVersion=TEXT,
            authOptions=only(["mode"], mode={"enum": ["token", "disabled"]}),
            enableInTreeAutoscaling={"type": "boolean"},
            autoscalerOptions=only(version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=COUNT),
            headGroupSpec=only(["template"], rayStartParams=PARAMETERS, template=POD),
            workerGroupSpecs={"type": "array", "items": WORKERS},
        ),
    ),
)  # fmt: skip


def test_the_job_for_kubernetes_has_only_fields_that_there_are():
    jsonschema.Draft202012Validator.check_schema(RAY_JOB)
    jsonschema.validate(JOB, RAY_JOB)


def test_the_job_for_kubernetes_asks_for_the_token_and_runs_no_trial_on_the_head():
    cluster = JOB["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["headGroupSpec"]["rayStartParams"].get("dashboard-host") is None
    assert {group["minReplicas"] for group in cluster["workerGroupSpecs"]} == {0}
    assert required("ray").specifier.contains(cluster["rayVersion"])
    words = shlex.split(JOB["spec"]["entrypoint"])
    assert words[words.index("--address") + 1] == "auto"
    assert words[words.index("--output") + 1].startswith("/")  # a folder
