"""A transformer whose weights are written by hand: an induction circuit and no more."""

from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import interp
from interp.models.language_model import LanguageModel


# Large enough that a softmax over forty keys is one-hot to 1e-3.
SHARP = 2000.0


def hand_built(n_tokens: int, n_positions: int) -> LanguageModel:
    """Two layers of two heads: previous token, self; induction, first token.

    The residual stream has one axis per token, per position, and per token that came
    before. Every stream has the same number of ones, so layer norm only rescales it.
    The last token stands in front of sequences: nothing comes before it, so the
    previous-token head has to look at it there.
    """
    # A head holds half of the axes, and has to tell all positions apart.
    half = max(n_tokens + n_positions // 2, n_positions) + 1
    width = 2 * half
    config = GPT2Config(
        vocab_size=n_tokens,
        n_positions=n_positions,
        n_embd=width,
        n_layer=2,
        n_head=2,
        tie_word_embeddings=False,
        bos_token_id=n_tokens - 1,
        eos_token_id=n_tokens - 1,
    )
    hf: Any = GPT2LMHeadModel(config).eval()
    token, place = torch.arange(n_tokens), torch.arange(n_positions)
    at_place, at_before = n_tokens + place, n_tokens + n_positions + token
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            parameter.fill_(1.0 if "ln_" in name and "weight" in name else 0.0)
        hf.transformer.wte.weight[token, token] = 1.0
        hf.transformer.wpe.weight[place, at_place] = 1.0
        first, second = hf.transformer.h
        # Conv1D holds [in, out]; its columns are q, k, v, each two heads of `half`.
        _attend(first, 0, at_place, place - 1, half, place[1:])
        _attend(first, 1, at_place, place, half, place)
        value = first.attn.c_attn.weight[:, 2 * width :]
        value[token, token] = 1.0
        first.attn.c_proj.weight[token, at_before] = 1.0
        query = second.attn.c_attn.weight[:, :width]
        key = second.attn.c_attn.weight[:, width : 2 * width]
        query[token, token] = SHARP
        key[at_before, token] = 1.0
        second.attn.c_attn.bias[half] = SHARP
        key[at_place[0], half] = 1.0
        value = second.attn.c_attn.weight[:, 2 * width :]
        value[token, token] = 1.0
        second.attn.c_proj.weight[token, token] = 1.0
        hf.lm_head.weight[token, token] = 1.0
    return interp.load(hf)


def _attend(
    block: Any,
    head: int,
    at_place: torch.Tensor,
    to: torch.Tensor,
    half: int,
    queries: torch.Tensor,
) -> None:
    """Make a head look from each query position to another position."""
    width = block.attn.c_attn.weight.shape[0]
    n = len(at_place)
    query = block.attn.c_attn.weight[:, :width]
    key = block.attn.c_attn.weight[:, width : 2 * width]
    query[at_place[queries], head * half + to[queries]] = SHARP
    key[at_place, head * half + torch.arange(n)] = 1.0
