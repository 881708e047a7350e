"""Run the command line as a user does: exit codes, output streams, speed, and light imports after a wrong option."""

import subprocess
import sys
from pathlib import Path

import pytest

from search.space.json_schema import schema_text
from search.space.space import load_space

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
ALL = ROOT / "spaces" / "all.yaml"
SMOKE = ROOT / "spaces" / "smoke.yaml"
NOTED = "nasdaq: Volume is 0 on 2 sessions: 2015-05-12, 2018-01-09\n"  # the one thing to know of that series
SPACE = "name: study\nspace:\n  architecture: [rnn, lstm]\n"
LIMIT_CPU = ("sh", "-c", 'ulimit -t 20 && exec "$@"', "sh")  # seconds, after which the process is killed; 2 are usual

DRIVER = """
import sys
from search.run import main
code = main(sys.argv[1:])
heavy = sorted({"ray", "torch", "optuna", "arch", "pandas"} & set(sys.modules))
assert not heavy, heavy
sys.exit(code)
"""


def run(*arguments: object, driver: bool = False) -> subprocess.CompletedProcess[str]:
    entry = ["-c", DRIVER] if driver else ["-m", "search.run"]
    command = [*LIMIT_CPU, sys.executable, *entry, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def complaints(*arguments: object, driver: bool = True) -> list[str]:
    """The lines on stderr of a run that ends for wrong input."""
    done = run(*arguments, driver=driver)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.splitlines()


@pytest.mark.parametrize("driver", [True, False], ids=["imports", "module"])
@pytest.mark.parametrize(
    ("content", "line", "key", "words"),
    [
        (SPACE + "  hidden_sise: 4\n", 4, "space.hidden_sise: ", "did you mean hidden_size?"),
        (SPACE + "  dropout: {float: [0, 0.5]}\nsearch: {sampler: grid}\n", 5, "search.sampler: ", "add a step"),
        (SPACE + "data: {source: yahoo}\n", 4, "data.source: ", "needs a ticker"),
        (SPACE + "data: {source: nasdak}\n", 4, "data.source: ", "did you mean nasdaq?"),
        (SPACE + "validation: [1]\n", 4, "validation: ", "is not a section"),
        ("space: " + "[" * 10_000, 1, "", "nested too deeply"),
        ("", 1, "", "is empty"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(
    tmp_path: Path, content: str, line: int, key: str, words: str, driver: bool
) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(content, encoding="utf-8")

    (said,) = complaints(path, driver=driver)

    assert said.startswith(f"{path}:{line}: {key}")
    assert words in said


def test_too_few_rows_name_the_number_needed(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + "validation: {folds: 30}\n", encoding="utf-8")
    (said,) = complaints(path, driver=False)
    assert said.startswith(f"{path}:4: validation.folds: nasdaq: 5031 sessions are too few")
    assert "need 7771" in said


def test_three_mistakes_are_three_lines(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + "  haed: last\nseed: x\nserach: {}\n", encoding="utf-8")
    assert len(complaints(path)) == 3


def test_a_missing_space() -> None:
    (said,) = complaints()
    assert said == "python -m search.run: a space file is missing; name one, for example spaces/smoke.yaml"


def test_a_missing_file() -> None:
    (said,) = complaints("spaces/none.yaml")
    assert said.startswith("spaces/none.yaml: no such file")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("search.num_sample=3", "search.num_sample: unknown key; did you mean num_samples?"),
        ("serach.sampler=grid", "serach: unknown key; did you mean search?"),
        ("space.hidden_sise=4", "space.hidden_sise: unknown parameter; did you mean hidden_size?"),
        ("seed", "'=' is missing; write --set KEY=VALUE, for example --set seed=1"),
        ("name.first=x", 'name: "smoke" is a value without keys; set name as a whole'),
        ("seed=[1", "seed: is not YAML"),
        ("seed=", "seed: null is not a seed"),
        (".seed=1", "'.seed' is not a key"),
        ("space.hidden_size={int: [4, 1]}", "space.hidden_size.int: [4, 1] is reversed"),
        ("scheduler.grace_period=7", "scheduler.grace_period: 7 is larger than max_epochs, 6"),
    ],
)
def test_a_wrong_set_names_the_option_as_typed(option: str, words: str) -> None:
    (said,) = complaints(SMOKE, "--set", option)
    assert said.startswith(f"--set {option}: {words}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--num-samples", "0"],
            "--num-samples 0: search.num_samples: 0 is too small; the value must be at least 1",
        ),
        (["--num-samples", "x"], '--num-samples x: search.num_samples: "x" is not a whole number'),
        (["--seed", "-1"], "--seed -1: seed: -1 is not a seed"),
        (["--name", "a/b"], '--name a/b: name: "a/b" is not a valid name'),
        (["--time-budget", "soon"], "--time-budget soon: must be a number with s, m, h or d"),
        (["--time-budget", "0s"], "--time-budget 0s: must be a number"),
        (["--time-budget", "1h30m"], "--time-budget 1h30m: must be a number"),
        (["--time-budget=-5m"], "--time-budget -5m: must be a number"),
        (["--workers", "0"], "--workers 0: resources.workers: 0 is too small; the value must be at least 1"),
        (["--niceness", "20"], "--niceness 20: must be a whole number from 0 to 19"),
        (["--niceness", "5", "--address", "auto"], "--niceness: conflicts with --address"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], words: str) -> None:
    (said,) = complaints(SMOKE, *options)
    assert said.startswith(words)


def test_a_file_in_place_of_the_results(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder", encoding="utf-8")
    lines = complaints(SMOKE, "--quiet", "--output", tmp_path / "results", driver=False)
    assert lines == [f"--output {tmp_path / 'results'}: cannot be written (File exists); choose another folder"]


def test_help_has_examples() -> None:
    done = run("--help", driver=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "examples:" in done.stdout
    assert "python -m search.run spaces/smoke.yaml" in done.stdout
    for option in ("--set", "--num-samples", "--dry-run", "--json-schema", "--time-budget", "--address"):
        assert option in done.stdout


def test_json_schema_is_printed() -> None:
    done = run("--json-schema", driver=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, schema_text(), "")


def test_a_dry_run_shows_the_plan_and_makes_nothing(tmp_path: Path) -> None:
    done = run(ALL, "--dry-run", "--output", tmp_path / "results")

    assert (done.returncode, done.stderr) == (0, NOTED)
    assert not (tmp_path / "results").exists()
    resolved, _, plan = done.stdout.partition("\n\n")
    (tmp_path / "resolved.yaml").write_text(resolved, encoding="utf-8")
    assert load_space(str(tmp_path / "resolved.yaml")) == load_space(str(ALL))
    assert plan.splitlines() == [
        "prices: nasdaq, 5031 sessions, 1999-01-04 to 2018-12-31",
        "fold 1: train 1999-01-04 to 2015-01-09 (4031 sessions), validate 2015-01-12 to 2016-01-07 (250 sessions)",
        "fold 2: train 1999-01-04 to 2016-01-07 (4281 sessions), validate 2016-01-08 to 2017-01-04 (250 sessions)",
        "fold 3: train 1999-01-04 to 2017-01-04 (4531 sessions), validate 2017-01-05 to 2018-01-02 (250 sessions)",
        "test:   2018-01-03 to 2018-12-31 (250 sessions), not used by the search",
        "study:  40 trials of 6 networks (3 folds x 2 seeds), at most 30 epochs, "
        "stopped early at epochs 3, 9, 27: at most 240 networks",
        "then:   3 finalists of 5 networks each, evaluated once on the test set",
        "cost:   about 337 epochs (120 to 1,200, by early stops); with the finalists 7.6 TFLOP, an estimate:",
        "        3.7 to 8.4 minutes of one CPU core, by the cost model",
        "        and about 10 seconds until the first trial starts on Ray on this machine",
    ]


def test_options_lie_over_the_file(tmp_path: Path) -> None:
    done = run(
        ALL, "--dry-run", "--output", tmp_path, "--name", "2024", "--num-samples", 7, "--seed", 3,
        "--set", "space.hidden_size=8", "--set", "space.head=[last, mean]",
        "--set", "search={sampler: random}",
        "--set", "search.metric=val_rmse",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, NOTED)
    for line in (
        "name: '2024'", "  hidden_size: 8", "  head: [last, mean]", "  sampler: random", "  metric: val_rmse",
        "  num_samples: 7", "seed: 3",
    ):  # fmt: skip
        assert line in done.stdout.splitlines()
