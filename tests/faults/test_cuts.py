"""Cut the files of a killed study at every byte, or flip bytes: the study continues, or names the damage."""

import random
import shutil

import pytest
import studies
from studies import GRID, until
from tiers import count

from search.common.errors import DamagedError
from search.results.event_log import Record, TrialLog
from search.results.predictions import STREAM, Predictions
from search.results.resume import read_resume_state
from search.space.space import load_space
from search.tune.asha import FiniteASHA
from search.tune.optuna_searcher import OptunaSearcher
from stockrnn.prices.snapshot import read_prices
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.task import Series

pytestmark = [pytest.mark.slow, pytest.mark.campaign, pytest.mark.timeout(900)]
FLIPS = count("FLIPS", 40)
STEP = max(1, 230 // count("CUTS", 10))  # bytes between two cuts


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of a study that was killed after three trials or more, and two of it run on."""
    folder = tmp_path_factory.mktemp("killed")
    process = studies.begin(
        studies.write(folder, GRID, scheduler={"max_epochs": 20, "grace_period": 20}), "--output", folder, "--quiet"
    )
    until(lambda: studies.ended(folder / "grid") >= 3 and len(studies.workers(folder / "grid")) >= 1, process)
    studies.kill(process)
    shutil.rmtree(folder / "grid" / "ray", ignore_errors=True)
    return folder / "grid"


@pytest.fixture
def copy(killed, tmp_path):
    """Copies of a file of the study, damaged, in a folder with the others."""
    folder = tmp_path / "grid"
    shutil.copytree(killed, folder)
    space, prices = load_space(str(folder / "space.yaml"), []), read_prices(folder / "prices.parquet")[0]
    splits = space.split(prices)

    def reopen():
        """All that a resumed study reads before its first trial; what it says of damage, or None."""
        try:
            begun = read_resume_state(folder)
            searcher = OptunaSearcher(space, folder / "study.journal", begun.ends, begun.unfinished)
            scored = {end.trial_id for end in begun.ends if end.scores}
            predictions = Predictions(folder / "predictions.parquet", space.task, space.series(prices))
            predictions.keep(scored, folds=len(splits.folds), test=False)
            FiniteASHA(space, begun.log)
            Record(folder / "trials.jsonl", begun.log)
        except ValueError as error:
            said = str(error)
            assert str(folder) in said
            assert "\n" not in said, "one line"
            return said
        assert searcher.remaining_trials == 12 - len(begun.ends)
        ends = {end.trial_id for end in begun.ends}
        begun_again = [searcher.suggest(str(number)) for number in range(2)]
        assert not {trial["trial_id"] for trial in begun_again} & ends, "what has ended does not run again"
        searcher.close()
        trials = searcher.study.get_trials(deepcopy=False)
        assert all(trial.state.is_finished() for trial in trials)
        return None

    def damaged(name, contents):
        """What is said of each content that the file might have."""
        for content in contents:
            for path in folder.iterdir():  # as the study left it
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(killed, folder, dirs_exist_ok=True)
            (folder / name).write_bytes(content)
            yield reopen()

    return damaged


def last_line(content):
    return content.rstrip(b"\n").rfind(b"\n") + 1


def cuts(content):
    """The content cut at the bytes of its last line, and whole."""
    first, last = last_line(content), len(content)
    return [content[:cut] for cut in sorted({*range(first, last, STEP), first + 1, last - 2, last - 1, last})]


@pytest.mark.parametrize("name", ["trials.jsonl", "study.journal"])
def test_cut_at_every_byte_of_its_last_record_a_file_is_read_on(killed, copy, name):
    assert set(copy(name, cuts((killed / name).read_bytes()))) == {None}


def test_the_end_of_a_trial_cut_at_every_byte_leaves_a_trial_to_go_on(killed, copy):
    content = (killed / "trials.jsonl").read_bytes()
    end = content.find(b"\n", content.rfind(b'"event": "end"')) + 1
    assert set(copy("trials.jsonl", cuts(content[:end]))) == {None}


def test_forecasts_that_are_cut_are_missed_by_name_and_the_others_are_there(killed, tmp_path):
    prices, _ = read_prices(killed / "prices.parquet")
    ended = {end.trial_id for end in TrialLog(studies.events(killed)).ends if end.status in ("default", "complete")}
    content = (killed / "predictions.parquet" / STREAM).read_bytes()
    there = set()
    for cut in sorted({*range(0, len(content), 10 * STEP), len(content)}):
        folder = tmp_path / f"{cut}.parquet"
        folder.mkdir()
        (folder / STREAM).write_bytes(content[:cut])
        whole = {name for name in ended if kept(folder, prices, name)}
        assert there <= whole, "the longer, the more"
        there = whole
        shutil.rmtree(folder)
    assert there == ended


def kept(folder, prices, name):
    """Whether the forecasts of a trial are all there."""
    stream = (folder / STREAM).read_bytes()
    try:
        Predictions(folder, PRICE, Series(prices=prices)).keep({name}, folds=2, test=False)
    except DamagedError as error:
        return f"forecasts of 1 ended trials are missing ({name})" not in str(error)
    finally:
        for part in folder.glob("part-*"):
            part.unlink()
        (folder / STREAM).write_bytes(stream)
    return True


@pytest.mark.parametrize("name", ["trials.jsonl", "study.journal"])
def test_flipped_bytes_are_mended_or_named(killed, copy, name):
    rng = random.Random(0)
    content = (killed / name).read_bytes()

    def flipped():
        for _ in range(FLIPS):
            spoilt = bytearray(content)
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
            yield bytes(spoilt)

    said = list(copy(name, flipped()))
    if name == "trials.jsonl":
        assert sum(line is not None for line in said) > FLIPS / 3, "most flips break a line, and are named"
        # An id that is another one now has ended without its forecasts.
        assert all(line is None or "trials.jsonl" in line or "ended trials are missing" in line for line in said)
    else:
        assert set(said) == {None}, "the journal is made anew from the record"


def test_without_its_journal_a_study_goes_on_from_its_record(killed, copy, tmp_path):
    before = {event["trial_id"]: event["point"] for event in studies.events(killed) if event["event"] == "start"}
    assert list(copy("study.journal", [b""])) == [None]
    journal = studies.journal(tmp_path / "grid")
    closed = {
        trial.user_attrs["trial_id"]: trial
        for trial in journal
        if trial.user_attrs["status"] in ("default", "complete")
    }
    assert len(closed) == studies.ended(killed)
    again = {trial.user_attrs["trial_id"]: trial.params for trial in journal}
    unfinished = before.keys() - closed.keys()
    assert unfinished
    for name in unfinished:  # under the ids and with the points that they had
        assert again[name] == {key: before[name][key] for key in again[name]}


@pytest.mark.parametrize("name", ["study.journal", "trials.jsonl"])
def test_a_whole_study_goes_on_from_a_torn_file(killed, tmp_path, name):
    folder = tmp_path / "grid"
    shutil.copytree(killed, folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: (last_line(content) + len(content)) // 2])
    _, err = studies.run("--resume", folder)
    assert f"{folder / name}: its last line was torn and is cut off" in err
    studies.assert_whole(folder, 12)
