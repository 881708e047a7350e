"""What takes the place of Tune's own classes while a study runs, and only then."""

import pytest

from search.cost.stalls import StallLimits, StallWatch
from search.tune.patches.actors import list_patches, patch_tune
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load


def test_tune_is_as_it_was_after_a_study_however_it_ended(small_space):
    space = small_space()
    stalls = StallLimits(space, space.split(clean(load("nasdaq")))), StallWatch()
    places = [(module, theirs.__name__) for module, theirs, _ in list_patches(*stalls)]

    def named():
        return [getattr(module, name) for module, name in places]

    before = named()
    with patch_tune(*stalls):
        assert not any(now is theirs for now, theirs in zip(named(), before, strict=True))
    assert named() == before
    with pytest.raises(KeyboardInterrupt), patch_tune(*stalls):
        raise KeyboardInterrupt
    assert named() == before
