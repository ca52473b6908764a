from typing import Any

import pytest
import torch
from tiny import tiny_model

from interp.edits import ProjectOut, Replace, ablate, edit, steer
from interp.models.language_model import LanguageModel


IDS = torch.tensor([[5, 6, 7, 8], [2, 9, 10, 11]])
VECTOR = torch.linspace(-1, 1, 32)


def logits(model):
    ids = IDS.to(model.device)
    return model.hf(ids, attention_mask=(ids != 2).long()).logits.cpu()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_edits_follow_the_device_of_the_model(llama):
    hf: Any = tiny_model("llama")
    moved = LanguageModel(hf=hf.to("cuda"))
    for make in (
        lambda model: steer(model, VECTOR, site="resid_post.1", positions="last"),
        lambda model: ablate(model, VECTOR, to=0.5),
        lambda model: edit(
            model,
            [
                Replace(site="z.1", values=torch.ones(2, 1, 4, 8), positions=-2),
                ProjectOut(site="attn_out.2", vectors=torch.eye(32)[:2], per_row=True),
            ],
        ),
    ):
        with make(llama):
            expected = logits(llama)
        with make(moved):
            torch.testing.assert_close(logits(moved), expected, rtol=1e-3, atol=1e-3)
