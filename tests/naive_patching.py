"""Activation patching the plain way: one whole forward pass per cell, by plain hooks.

The oracle for `interp.patching`. It shares no code with it: where the sites are is
written down here for each architecture.
"""

from dataclasses import dataclass

import numpy as np
import torch

from interp.patching import PromptPairs


@dataclass(frozen=True)
class Places:
    """The blocks, and in a block the modules whose outputs are the writes."""

    blocks: str
    attn: str
    mlp: str
    o: str  # the heads' values are its input


_LLAMA = Places("model.layers", "self_attn", "mlp", "self_attn.o_proj")
_POST_NORM = Places(
    "model.layers",
    "post_attention_layernorm",
    "post_feedforward_layernorm",
    "self_attn.o_proj",
)
_NEOX = Places("gpt_neox.layers", "attention", "mlp", "attention.dense")
_FALCON = Places("transformer.h", "self_attention", "mlp", "self_attention.dense")
PLACES = {
    "gpt2": Places("transformer.h", "attn", "mlp", "attn.c_proj"),
    "gpt_neox": _NEOX,
    "gpt_neox_sequential": _NEOX,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _POST_NORM,
    "olmo2": _POST_NORM,
    "opt": Places("model.decoder.layers", "self_attn", "fc2", "self_attn.out_proj"),
    "phi": Places("model.layers", "self_attn", "mlp", "self_attn.dense"),
    "mixtral": _LLAMA,
    "qwen3_moe": _LLAMA,
    "falcon": _FALCON,
    "falcon_new": _FALCON,
    "bloom": Places(
        "transformer.h",
        "self_attention.dense",
        "mlp.dense_4h_to_h",
        "self_attention.dense",
    ),
    "stablelm": _LLAMA,
}
N_HEADS = 4


def made_pairs(*, seed: int = 0) -> PromptPairs:
    """Three pairs: two of one prefix and different lengths, one without a prefix.

    The first begins with a token that both prompts share, so that some cells are known.
    """
    generator = torch.Generator().manual_seed(seed)

    def tokens(count):
        ids = torch.randint(10, 320, (count,), generator=generator)
        return tuple(ids.tolist())

    prefix = tokens(9)
    tails = [tokens(4), tokens(3), tokens(3)]
    others = [(tails[0][0], *tokens(2), *tails[0][3:]), (*tokens(1), *tails[1][1:])]
    others.append((*tokens(2), *tails[2][2:]))
    starts = (9, 9, 0)
    whole = [(prefix, 0), (prefix, 1), ((), 2)]
    return PromptPairs(
        clean_ids=tuple((*front, *tails[i]) for front, i in whole),
        corrupted_ids=tuple((*front, *others[i]) for front, i in whole),
        positive=(5, 17, 5),
        negative=(9, 9, 33),
        start=starts,
        roles=(
            ("template", "subject[0]", "subject[1]", "last"),
            ("subject[0]", "object", "last"),
            ("subject[0]", "subject[1]", "last"),
        ),
        groups=("a", "b", "a"),
    )


def naive_grid(
    hf, architecture, pairs, *, units, direction="denoise", window=1, source=None
):
    """LD of every cell, `[unit, pair, layer, position]`; NaN where there is none."""
    source = hf if source is None else source
    n_layers = hf.config.num_hidden_layers
    longest = max(pairs.lengths)
    grid = np.full((len(units), len(pairs), n_layers, longest), np.nan)
    for i in range(len(pairs)):
        base, other = pairs.corrupted_ids[i], pairs.clean_ids[i]
        if direction == "noise":
            base, other = other, base
        for u, unit in enumerate(units):
            values = _values(source, architecture, unit, other)
            for layer in range(n_layers):
                layers = range(layer, min(layer + window, n_layers))
                for t in range(len(pairs.roles[i])):
                    position = pairs.start[i] + t
                    hooks = [
                        _hook(hf, architecture, unit, at, position, values[at])
                        for at in layers
                    ]
                    logits = _logits(hf, base)
                    for hook in hooks:
                        hook.remove()
                    grid[u, i, layer, t] = _difference(logits, pairs, i)
    return grid


def unpatched(hf, pairs):
    """LD of the clean and of the corrupted prompts."""
    return [
        [_difference(_logits(hf, ids), pairs, i) for i, ids in enumerate(side)]
        for side in (pairs.clean_ids, pairs.corrupted_ids)
    ]


def module_of(hf, architecture, unit, layer):
    """The module at which a unit is seen, and whether it is the module's input."""
    places = PLACES[architecture]
    block = hf.get_submodule(places.blocks)[layer]
    if unit == "resid_post":
        return block, False
    if unit.startswith("z.h"):
        return block.get_submodule(places.o), True
    path = places.attn if unit == "attn_out" else places.mlp
    return block.get_submodule(path), False


def columns(unit, width):
    """Which columns of a module's value belong to a unit."""
    if not unit.startswith("z.h"):
        return slice(None)
    head, size = int(unit.removeprefix("z.h")), width // N_HEADS
    return slice(head * size, (head + 1) * size)


def _logits(hf, ids):
    with torch.no_grad():
        return hf(torch.tensor([ids]), use_cache=False).logits[0, -1].double()


def _difference(logits, pairs, i):
    return float(logits[pairs.positive[i]] - logits[pairs.negative[i]])


def _values(hf, architecture, unit, ids):
    """The unit's module values in an unpatched run, by layer, `[pos, width]`."""
    found, hooks = {}, []
    for layer in range(hf.config.num_hidden_layers):
        module, is_input = module_of(hf, architecture, unit, layer)

        def keep(module, args, output=None, layer=layer, is_input=is_input):
            value = args[0] if is_input else output
            value = value[0] if isinstance(value, tuple) else value
            assert isinstance(value, torch.Tensor)
            found[layer] = value.reshape(len(ids), -1).clone()

        plant = module.register_forward_pre_hook if is_input else None
        hooks.append((plant or module.register_forward_hook)(keep))
    _logits(hf, ids)
    for hook in hooks:
        hook.remove()
    return found


def _hook(hf, architecture, unit, layer, position, values):
    module, is_input = module_of(hf, architecture, unit, layer)
    part = columns(unit, values.shape[-1])

    def change(value):
        value = value.clone()
        value.view(-1, value.shape[-1])[position, part] = values[position, part]
        return value

    if is_input:
        return module.register_forward_pre_hook(
            lambda module, args: (change(args[0]), *args[1:])
        )

    def on_output(module, args, output):
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    return module.register_forward_hook(on_output)
