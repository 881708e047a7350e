"""Stop a study with the cause when its first trials all fail with the same error."""

import pytest
import studies
from studies import GRID

from search.results.event_log import read_log

pytestmark = [pytest.mark.ray, pytest.mark.nightly, pytest.mark.timeout(300)]


def test_workers_without_a_working_pytorch_stop_the_study_with_the_cause(tmp_path):
    """The driver does without PyTorch, so only the workers meet an installation that is broken."""
    broken = tmp_path / "packages" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ImportError("libcudart.so.13: cannot open shared object file")\n')
    path = studies.write(tmp_path, GRID, search={"max_failures": 0})
    out, err = studies.run(
        path, "--output", tmp_path, "--quiet", ray=True, code=1, env={"PYTHONPATH": f"{broken.parent}:{studies.ROOT}"}
    )
    folder = tmp_path / "grid"
    ends = read_log(folder / "trials.jsonl").ends
    failed = [end for end in ends if end.status == "failed"]
    assert 5 <= len(failed) <= 6  # the other worker may have met it too
    assert {end.status for end in ends} <= {"failed", "interrupted"}
    assert {end.message for end in failed} == {"ImportError: libcudart.so.13: cannot open shared object file"}
    [line] = err.splitlines()
    assert line == f"the first 5 trials failed with the same error: {failed[0].message}"
    assert studies.manifest(folder)["failure"] == line
    assert not studies.manifest(folder)["test_openings"]
    assert all(trial.state.is_finished() for trial in studies.journal(folder))

    out, _ = studies.run("--resume", folder, "--quiet")  # with PyTorch mended the others are tried
    assert f"12 trials ({len(failed)} before the resume)" in out
    statuses = [end.status for end in read_log(folder / "trials.jsonl").ends]
    assert statuses.count("complete") + statuses.count("default") == 12 - len(failed)
