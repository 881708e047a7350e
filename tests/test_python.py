"""Check docs/python.md and run docs/notebook.ipynb: names, arguments, the script and the notebook."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import search
import stockrnn

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)


def table(head):
    (body,) = re.findall(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.M)
    return [re.findall(r"`([\w.]+)`", line.split("|")[1]) for line in body.splitlines()]


def test_every_public_name_is_on_the_page():
    named = {name for cell in table("name") for name in cell}
    public = {f"{package.__name__}.{name}" for package in (search, stockrnn) for name in package.__all__}
    assert named == public
    for name in public:
        package, _, attribute = name.partition(".")
        assert inspect.getdoc(getattr(sys.modules[package], attribute))


def test_every_argument_and_every_method_is_on_the_page():
    assert [cell[0] for cell in table("argument")] == [*inspect.signature(search.run_study).parameters]
    methods = {name for name in vars(search.Study) if not name.startswith("_")}
    assert methods == set(re.findall(r"study\.(\w+)", "".join(BLOCKS))) - {"folder"} | {"name"}


def test_the_script_of_ten_lines_runs_and_warns_of_nothing(tmp_path):
    script = BLOCKS[0]
    assert len([line for line in script.splitlines() if line]) == 10
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"], capture_output=True, text=True, cwd=tmp_path, timeout=280,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/smoke/report.html").exists()
    assert {"persistence", "forecast", "low_80"} <= set(done.stdout.split())


def test_the_error_on_the_page_is_that_of_the_code():
    code, _, text = BLOCKS[-1].partition("    print(error)  # ")
    with pytest.raises(search.UserError) as raised:
        exec(re.search(r"^    (search\.run_study.*)$", code, re.M)[1], {"search": search})
    assert str(raised.value) == text.strip()


def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(ROOT / "docs/notebook.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    streams = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    assert streams.splitlines() == ["DataFrame: Volume is 0 on 2 sessions: 2015-05-12, 2018-01-09"]
    shown = [output["data"].get("text/html", "") for output in outputs if "data" in output]
    assert any('<progress value="3" max="3"' in html for html in shown)
    assert any("persistence" in html and "<table>" in html for html in shown)
    assert any("low_80" in html for html in shown)
    assert not any(tmp_path.iterdir())


def test_the_notebook_is_stored_with_the_outputs_of_a_run():
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "docs/notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert any(cell.get("outputs") for cell in notebook.cells)
    assert (ROOT / "docs/notebook.ipynb").stat().st_size < 100_000
