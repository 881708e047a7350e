"""What takes the place of Tune's own classes while a study runs, and only then."""

import pytest

from search.actors import REPLACED, workers_may_die
from search.lean import replacements


def test_tune_is_as_it_was_after_a_study_however_it_ended():
    places = [(module, theirs.__name__) for module, theirs, _ in [*REPLACED, *replacements()]]

    def named():
        return [getattr(module, name) for module, name in places]

    before = named()
    with workers_may_die():
        assert not any(now is theirs for now, theirs in zip(named(), before, strict=True))
    assert named() == before
    with pytest.raises(KeyboardInterrupt), workers_may_die():
        raise KeyboardInterrupt
    assert named() == before
