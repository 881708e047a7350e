"""Studies before they begin: their spaces, prices, folds and folders, all checked, and their plans shown."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from search.cli.dry_run import plan
from search.common.messages import one_line
from search.results.remote_lock import LEFT
from search.space.space import Space
from stockrnn.dataset.alignment import prepare
from stockrnn.dataset.walk_forward import WalkForward
from stockrnn.io.storage import RemoteFolder, is_url, join_path
from stockrnn.prices.loading import Access
from stockrnn.prices.series import Prices
from stockrnn.prices.yahoo.client import YahooUnavailableError

__all__ = ["Plan", "planned", "show_plans"]

Plan = tuple[Space, Prices, WalkForward, str]


def planned(options: argparse.Namespace, space: Space, access: Access) -> Plan:
    """A study before it begins: its space, prices, folds and folder, all checked; with --dry-run its plan is shown.

    Raises:
        SpaceError: its folder exists, or the space does not fit the prices.
        PriceError: there are no such prices.
    """
    prices = prepare(space.data, access)
    fitting = space.adapted_to(prices)
    splits = fitting.split(prices)
    if not options.quiet:
        for finding in prices.findings:
            print(one_line(f"{prices.source}: {finding.text}"), file=sys.stderr)
        if fitting != space:
            print(f"{prices.source}: no usable volume, so the features are ohlc", file=sys.stderr)
    if options.dry_run:
        print(plan(fitting, prices, splits))
    place = _place(options, space)
    return fitting, prices, splits, place


def show_plans(options: argparse.Namespace, studies: Sequence[Space], access: Access) -> None:
    """Show what studies will be; where Yahoo cannot be asked, without their prices."""
    for space in studies:
        try:
            planned(options, space, access)
        except YahooUnavailableError as away:
            access = replace(access, offline=True, refresh=False)  # nor is it asked for the others
            try:
                planned(options, space, access)
            except YahooUnavailableError:
                print(one_line(f"{str(away).partition(';')[0]}; planned without these prices"), file=sys.stderr)
                print(plan(space, None, None))
                _place(options, space)
    if len(studies) > 1:
        print(f"in all: {len(studies)} studies, one after the other")


def _place(options: argparse.Namespace, space: Space) -> str:
    """Where a study will be kept.

    Raises:
        SpaceError: there is something.
    """
    place = join_path(options.output, space.name)
    if RemoteFolder(place).names().keys() - LEFT if is_url(place) else os.path.lexists(place):
        raise space.error(
            ("name",), f"{place} exists already; each study has a folder of its own; go on with it by --resume "
            f"{place}, choose another name with --name, or remove the folder",
        )  # fmt: skip
    return place
