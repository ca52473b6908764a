"""Induction strength beside a plain loop."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model

import interp
from interp.errors import PositionError
from interp.heads import induction_strength


# Items 5..9 and labels 20..22; the last item has come before, with the marked label.
ROWS = [[5, 20, 6, 21, 5], [7, 21, 8, 20, 9, 22, 8], [6, 22, 6, 22, 9, 20, 6]]
LABELS = [[1, 3], [1, 3, 5], [1, 3, 5]]
RIGHT = [[True, False], [False, True, False], [True, True, False]]


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "bloom"])
def test_the_strength_equals_a_plain_loop(architecture):
    hf: Any = tiny_model(architecture)
    found = induction_strength(
        interp.load(hf), ROWS, labels=LABELS, right=RIGHT, resamples=5
    )
    early = induction_strength(
        interp.load(hf),
        ROWS,
        labels=LABELS,
        right=RIGHT,
        queries=[4, 5, 5],
        resamples=5,
    )
    hf.set_attn_implementation("eager")
    for i, row in enumerate(ROWS):
        with torch.no_grad():
            out = hf(torch.tensor([row]), output_attentions=True, use_cache=False)
        for layer, attention in enumerate(out.attentions):
            for head in range(attention.shape[1]):
                for result, query in ((found, len(row) - 1), (early, (4, 5, 5)[i])):
                    looked = attention[0, head, query].numpy()
                    good = [
                        looked[p] for p, r in zip(LABELS[i], RIGHT[i], strict=True) if r
                    ]
                    bad = [
                        looked[p]
                        for p, r in zip(LABELS[i], RIGHT[i], strict=True)
                        if not r
                    ]
                    got = result.samples[layer, head, i]
                    assert got == pytest.approx(sum(good) - np.mean(bad), abs=1e-5)
                    whole = result.on_labels[layer, head, i]
                    assert whole == pytest.approx(sum(good) + sum(bad), abs=1e-5)
    mean = found.samples.mean(axis=-1)
    assert found.mean.estimate == pytest.approx(mean, abs=1e-6)


def test_the_hand_built_induction_head_has_full_strength(by_hand):
    model = by_hand(n_tokens=12, n_positions=12)
    rows = [[11, 0, 7, 1, 8, 0], [11, 2, 9, 3, 7, 3]]
    found = induction_strength(
        model, rows, labels=[[2, 4]] * 2, right=[[True, False], [False, True]]
    )
    assert (found.samples[1, 0] > 0.999).all()
    # The previous-token head looks at the last label, be it right or wrong.
    assert found.samples[0, 0] == pytest.approx([-1.0, 1.0], abs=1e-3)
    assert abs(found.samples[:, 1]).max() < 1e-3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": [[1, 3]]}, "labels for 1 sequences"),
        ({"right": [[True, True], *RIGHT[1:]]}, "Sequence 0 has 2 right ones among 2"),
        ({"right": [[False, False], *RIGHT[1:]]}, "0 right ones"),
        ({"right": [[True], *RIGHT[1:]]}, "1 marks for 2 labels"),
        ({"queries": [2, 6, 6]}, r"at \[1, 3\], its query at 2"),
        ({"queries": [5, 6, 6]}, "no token 5"),
    ],
)
def test_what_makes_no_sense_is_said(changed, message):
    given = {"labels": LABELS, "right": RIGHT, **changed}
    with pytest.raises(PositionError, match=message):
        induction_strength(interp.load(tiny_model("llama")), ROWS, **given)
