"""Kill studies at random moments and resume them: no trial is lost, and none runs twice.

Even seeds run their trials on Ray (in the nightly tier), odd seeds in the process of the study.
"""

import os
import random
import time

import pytest
import studies
from studies import ASHA, FINALIST, GRID, until
from tiers import count

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STUDIES = count("KILLS", 2)
FIRST = int(os.environ.get("STOCKRNN_KILLS_FROM", "0"))
TRIALS = {"grid": 12, "asha": 14}
WORKERS = {"resources": {"workers": 2}}
DIES = 30.0  # seconds within which the processes of a killed driver must be gone
AGENTS = ("ray::DashboardA", "ray::RuntimeEnv")  # of Ray's: they notice after a minute or so


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The leaderboards of both studies."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for space in (GRID, ASHA):
        studies.run(studies.write(folder, space, search=FINALIST, **WORKERS), "--output", folder, "--quiet")
        studies.assert_whole(folder / space["name"], TRIALS[space["name"]])
    return {name: studies.leaderboard(folder / name) for name in TRIALS}


def wait(process, folder, trials, rng):
    """Let a study go on to a random moment, of which its beginning and its end have their share."""
    moment = rng.choice(["start", "trials", "trials", "trials", "finalists", "block", "report"])
    if moment == "start":  # before its folder is there, or after, while Ray and the workers start or a resume reads it
        due = time.monotonic() + rng.uniform(0.5, 7)
        until(lambda: time.monotonic() >= due, process)
    elif moment == "trials":
        most = studies.ended(folder) + rng.randint(0, 5)
        until(lambda: studies.ended(folder) >= min(most, trials), process)
        time.sleep(rng.uniform(0, 0.4))
    elif moment == "finalists":
        until(lambda: studies.ended(folder) == trials, process)
        time.sleep(rng.uniform(0, 2.5))
    elif moment == "block":  # it was scored, and the manifest does not say so yet
        until(lambda: (folder / "forecasters").exists(), process, every=0.001)
        time.sleep(rng.choice([0, 0, 0.1]))
    else:
        until(lambda: (folder / "manifest.json").exists() and studies.manifest(folder)["end"], process, every=0.001)
        time.sleep(rng.uniform(0, 0.3))
    return moment


@pytest.mark.campaign
@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=[pytest.mark.ray, pytest.mark.nightly] if seed % 2 == 0 else [])
        for seed in range(FIRST, FIRST + STUDIES)
    ],
)
def test_a_killed_study_goes_on_and_loses_nothing(undisturbed, tmp_path, seed):
    rng, on_ray = random.Random(seed), seed % 2 == 0
    space = GRID if seed % 3 == 2 else ASHA
    trials = TRIALS[space["name"]]
    path, folder = studies.write(tmp_path, space, search=FINALIST, **WORKERS), tmp_path / space["name"]
    moments = []
    for _ in range(rng.randint(1, 3)):
        arguments = ["--resume", folder] if folder.exists() else [path, "--output", tmp_path]
        process = studies.begin(*arguments, "--quiet", ray=on_ray)
        moment, before = wait(process, folder, trials, rng), studies.ended(folder)
        if process.poll() is not None:
            studies.finish(process)
            break
        group = rng.random() < 0.3
        studies.kill(process, group=group)
        moments.append(f"{moment} after {before} trials{', all processes' if group else ''}")
        if rng.random() < 0.5:  # else what is left of it is still there when the study goes on
            until(lambda number=process.pid: not left(number), seconds=DIES)
    arguments = ["--resume", folder] if folder.exists() else [path, "--output", tmp_path]
    process = studies.begin(*arguments, "--quiet", ray=on_ray)
    studies.finish(process)
    studies.assert_whole(folder, trials)
    studies.assert_equal(studies.leaderboard(folder), undisturbed[space["name"]])
    resumes = len(studies.manifest(folder)["resumes"])
    ends = sum(event["event"] == "end" for event in studies.events(folder))
    print(f"seed {seed}: {space['name']}, killed {len(moments)} ({'; '.join(moments)}), resumed {resumes}, {ends} ends")


@pytest.mark.nightly
@pytest.mark.ray
def test_the_processes_of_a_killed_driver_die_by_themselves(tmp_path):
    process = studies.begin(studies.write(tmp_path, GRID), "--output", tmp_path, "--quiet", ray=True)
    until(lambda: studies.ended(tmp_path / "grid") >= 1, process)
    assert len(studies.session(process.pid)) > 3  # the driver, Ray's own and the workers
    studies.kill(process)
    until(lambda: not left(process.pid), seconds=DIES)


def left(number):
    """What a killed study has left running and could still write into its folder."""
    return [name for _, name in studies.session(number) if name not in AGENTS]
