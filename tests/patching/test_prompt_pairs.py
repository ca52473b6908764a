"""Pairs of prompts refuse what cannot be patched, in one clear line."""

import pytest
from naive_patching import made_pairs

from interp.errors import PositionError, PromptError, ShapeError
from interp.patching import PromptPairs


GOOD = {
    "clean_ids": ((5, 6, 7),),
    "corrupted_ids": ((5, 9, 7),),
    "positive": (1,),
    "negative": (2,),
    "start": (1,),
    "roles": (("subject", "last"),),
    "groups": ("Paris",),
}


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"corrupted_ids": ((5, 9),)}, PromptError, "have 3 and 2 tokens"),
        ({"corrupted_ids": ((4, 9, 7),)}, PromptError, "differ before position 1"),
        ({"corrupted_ids": ((5, 6, 7),)}, PromptError, "are the same"),
        ({"start": (3,)}, PositionError, "starts at position 3"),
        ({"roles": (("subject",),)}, ShapeError, "has 1 roles"),
        ({"negative": (1,)}, PromptError, "as positive and negative"),
        ({"groups": ()}, ShapeError, "0 entries of groups"),
        ({"clean_ids": ()}, PromptError, "There are no pairs"),
    ],
)
def test_what_cannot_be_patched_is_refused(change, error, said):
    with pytest.raises(error, match=said):
        PromptPairs(**{**GOOD, **change})


def test_a_subset_keeps_every_field_of_its_pairs():
    pairs = made_pairs()
    some = pairs.subset([2, 0])
    assert some.clean_ids == (pairs.clean_ids[2], pairs.clean_ids[0])
    assert some.corrupted_ids == (pairs.corrupted_ids[2], pairs.corrupted_ids[0])
    assert some.negative == (33, 9)
    assert some.start == (0, 9)
    assert some.lengths == (3, 4)
    assert some.groups == ("a", "a")


def test_the_fingerprint_tells_any_change():
    pair = PromptPairs(**GOOD)
    other = PromptPairs(**{**GOOD, "positive": (3,)})
    renamed = PromptPairs(**{**GOOD, "name": "other"})
    assert pair.fingerprint != other.fingerprint
    assert pair.fingerprint == renamed.fingerprint
