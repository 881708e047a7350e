"""Prepare studies before they run: check their spaces, prices, folds and folders, and show their plans."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.cli.dry_run import Plan, plan, plan_several
from search.cli.options import OptionError, RunOptions
from search.common.errors import UserError
from search.common.messages import one_line
from search.results.warm_start import WarmStart, read_warm_start
from search.space.space import Space, format_settings, load_space
from search.tracking.dispatcher import check_installed
from stockrnn.dataset.alignment import prepare
from stockrnn.dataset.config import features_label
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.io.storage import RemoteFolder, is_url, join_path
from stockrnn.prices.request import Access
from stockrnn.prices.series import Prices
from stockrnn.prices.yahoo.client import YahooUnavailableError

__all__ = ["PreparedStudy", "prepare_resumed", "prepare_studies", "prepare_study", "show_plans"]


@dataclass(frozen=True, kw_only=True)
class PreparedStudy:
    """A study that has been checked and can run.

    Attributes:
        place: folder or URL of its results, as the user names it.
        warm_start: of a new study.
    """

    space: Space
    prices: Prices
    splits: WalkForward
    place: str
    warm_start: WarmStart | None = None

    def plan(self) -> str:
        """Return the text that `--dry-run` shows."""
        return plan(self.space, self.prices, self.splits)


def prepare_study(
    options: RunOptions, space: Space, access: Access | None = None, given: Prices | None = None
) -> PreparedStudy:
    """Load the prices of a new study and check everything.

    Args:
        access: in place of the options' own.
        given: the series, unchecked, if it is not loaded from the source of the space.

    Raises:
        SpaceError: the results folder exists, or the space does not fit the prices.
        PriceError: the prices cannot be loaded.
    """
    study = _fit_to_prices(options, space, access, given)
    _check_new(space, study.place)
    return study


def _fit_to_prices(
    options: RunOptions, space: Space, access: Access | None = None, given: Prices | None = None
) -> PreparedStudy:
    """Load the prices of a study and check that its space fits them; see `prepare_study`."""
    prices = prepare(space.data, access or options.access, given)
    fitting = space.adapted_to(prices)
    settings = fitting.fitting_settings(prices) if options.fit else []
    fitting = fitting.with_settings(settings)
    splits = fitting.split(prices)
    if warm_start := read_warm_start(fitting, prices, splits):
        fitting = fitting.with_warm_points(warm_start.points)
    study = PreparedStudy(
        space=fitting, prices=prices, splits=splits, place=join_path(options.output, space.name),
        warm_start=warm_start,
    )  # fmt: skip
    if not options.quiet:
        for finding in prices.findings:
            print(one_line(f"{prices.source}: {finding.text}"), file=sys.stderr)
        if settings:
            print(
                f"{prices.source}: {len(prices)} sessions, so --fit adds {format_settings(settings)}", file=sys.stderr
            )
        if fitting.data.features != space.data.features:
            used = features_label(fitting.data.features)
            missing = ", ".join(name for name in space.data.features if name not in fitting.data.features)
            print(one_line(f"{prices.source}: no usable {missing}, so the features are {used}"), file=sys.stderr)
        if warm_start:
            print(one_line(warm_start.note), file=sys.stderr)
    return study


def prepare_studies(options: RunOptions, spaces: Sequence[Space]) -> list[PreparedStudy]:
    """Prepare several studies before the first of them starts.

    Raises:
        UserError: some series cannot be used; with one line for each of their problems.
    """
    studies, problems = [], []
    for space in spaces:
        try:
            studies.append(prepare_study(options, space))
        except YahooUnavailableError:  # the other tickers would only wait for the same
            raise
        except UserError as error:
            problems += str(error).split("\n")
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return studies


def prepare_resumed(options: RunOptions, folder: Path) -> PreparedStudy:
    """Read the study in a folder that is to be continued, and check that it is still the same study.

    Raises:
        OptionError: its prices are missing, or something has changed and `--force` is not given.
        SpaceError: its space, or the one given, is wrong.
        DamagedError: its manifest is damaged.
    """
    from search.results.folder.links import check_folder
    from search.results.resume import list_changes
    from search.results.schemas import NEEDED, read_manifest
    from stockrnn.prices.snapshot import read_prices

    assert options.resume is not None
    check_folder(folder)
    manifest = read_manifest(folder / "manifest.json", NEEDED)
    overrides = [*options.overrides, ("name", json.dumps(manifest.get("name")), "--resume")]
    space = load_space(options.space or str(folder / "space.yaml"), overrides, has_prices=True)
    space = _keep_warm_start(options, space, folder)
    check_installed(space)
    try:
        prices, _ = read_prices(folder / "prices.parquet")
    except FileNotFoundError:
        raise OptionError(
            f"{folder}: prices.parquet is missing; a study needs its prices; copy the file back"
        ) from None
    if (different := list_changes(manifest, space, prices)) and not options.force:
        raise OptionError(
            "\n".join(f"--resume {options.resume}: {what}" for what in different)
            + f"\n--resume {options.resume}: a study continues as it began, or its trials cannot be compared; "
            "undo the change, start another study, or add --force"
        )
    return PreparedStudy(space=space, prices=prices, splits=space.split(prices), place=options.resume)


def _keep_warm_start(options: RunOptions, space: Space, folder: Path) -> Space:
    """Return the space of a resumed study with the points with which it was begun."""
    wanted = space.search.warm_start
    if wanted is None or wanted.points is not None:
        return space
    begun = load_space(str(folder / "space.yaml"), has_prices=True).search.warm_start
    if begun is None or begun.points is None or (begun.study, begun.top) != (wanted.study, wanted.top):
        raise OptionError(
            f"--resume {options.resume}: search.warm_start: a study takes its first points from another one only when "
            "it starts; remove it, or start another study"
        )
    return space.with_warm_points(begun.points)


def show_plans(options: RunOptions, studies: Sequence[Space]) -> None:
    """Print the plan of a new study, or a line for each of several; without dates if Yahoo is not available."""
    access = options.access
    planned: list[Plan] = []
    for space in studies:
        try:
            study = _fit_to_prices(options, space, access)
            planned.append((study.space, study.prices, study.splits))
        except YahooUnavailableError as unavailable:
            access = replace(access, offline=True, refresh=False)  # do not try again for the other studies
            try:
                study = _fit_to_prices(options, space, access)
                planned.append((study.space, study.prices, study.splits))
            except YahooUnavailableError:
                print(one_line(f"{str(unavailable).partition(';')[0]}; planned without these prices"), file=sys.stderr)
                planned.append((space, None, None))
    print(plan(*planned[0]) if len(planned) == 1 else plan_several(planned))
    for space in studies:
        _check_new(space, join_path(options.output, space.name))


def _check_new(space: Space, place: str) -> None:
    """Raise SpaceError if there is something at the place of a new study."""
    if is_url(place):
        from search.results.folder.remote_lock import LEASE_FILES

        exists = bool(RemoteFolder(place).names().keys() - LEASE_FILES)
    else:
        exists = os.path.lexists(place)
    if exists:
        raise space.error(
            ("name",), f"{place} exists already; each study has its own folder; continue it with --resume {place}, "
            "choose another name with --name, or remove the folder",
        )  # fmt: skip
