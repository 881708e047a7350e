"""Check that patches of Tune are applied while a study runs, and removed afterwards."""

import pytest

from search.cost.stalls import StallLimits, StallWatch
from search.tune.patches.actors import list_patches, patch_tune
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load


def test_tune_is_restored_after_a_study_and_after_an_error(small_space):
    space = small_space()
    stalls = StallLimits(space, space.split(clean(load("nasdaq")))), StallWatch()
    names = [(module, original.__name__) for module, original, _ in list_patches(*stalls)]

    def current():
        return [getattr(module, name) for module, name in names]

    before = current()
    with patch_tune(*stalls):
        assert not any(now is original for now, original in zip(current(), before, strict=True))
    assert current() == before
    with pytest.raises(KeyboardInterrupt), patch_tune(*stalls):
        raise KeyboardInterrupt
    assert current() == before
