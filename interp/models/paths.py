"""Where the parts of an architecture are, as plain data."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureMap:
    """Dotted module paths of one architecture; those of a block are relative to it.

    `attn` and `mlp` are the modules that compute; what they add to the residual stream
    leaves through `attn_post_norm` or `mlp_post_norm` where the block has them. `mlp`
    is None where the block holds the layers itself (OPT). `q`, `k` and `v` are None
    where one projection computes all three, and so is `mlp_pre` where one computes gate
    and input; `interp.models.layouts` finds those. `parallel` blocks add attention and
    MLP at once, so that they have no middle.
    """

    source: str
    blocks: str
    embed: str
    final_norm: str | None
    unembed: str | None
    attn: str
    attn_post_norm: str | None = None
    mlp: str | None
    mlp_norm: str | None = None
    mlp_post_norm: str | None = None
    q: str | None = None
    k: str | None = None
    v: str | None = None
    o: str | None = None
    mlp_pre: str | None = None
    mlp_down: str | None = None
    router: str | None = None
    parallel: bool = False


def submodule(module: nn.Module, path: str | None) -> nn.Module:
    """The module at a dotted path.

    Raises:
        AttributeError: If a part of the path does not exist.
    """
    return module.get_submodule(path) if path else module
