"""From a site's name to the place in a Hugging Face model where its value passes."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from torch import nn
from transformers import PreTrainedModel

from interp.errors import MissingSiteError, UnknownSiteError, closest
from interp.models.adapters import map_from_adapter
from interp.models.hookpoints import HookPoint, as_index
from interp.models.layouts import (
    Fused,
    fused_attention,
    fused_gate,
    width_in,
    width_out,
)
from interp.models.paths import ArchitectureMap
from interp.models.remembered import remembered_map
from interp.models.structure import map_from_structure
from interp.sites import COMPONENTS, GLOBAL_COMPONENTS, Site, expand


_WHY_MISSING = {
    "resid_mid": "This model adds attention and MLP to the residual stream in parallel,"
    " so there is no middle.",
    "mlp_pre": "Its experts are fused: no module holds their inner activations.",
    "mlp_post": "Its experts are fused: no module holds their inner activations.",
    "router": "Its MLP is no mixture of experts.",
    "q": "How its fused projection is laid out is not known.",
    "k": "How its fused projection is laid out is not known.",
    "v": "How its fused projection is laid out is not known.",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """A module path relative to the block, and how the site's value passes there."""

    path: str
    side: str
    columns: tuple[int, ...] | None = None
    heads: bool = False
    flat: bool = False
    bypassed: bool = False


class Architecture:
    """Where the sites of one loaded model are.

    Attributes:
        hf: The Hugging Face model.
        map: The module paths, from TransformerLens' adapter or from the structure.
        blocks: The decoder blocks.

    Example:
        >>> from tiny import tiny_model
        >>> architecture = architecture_of(tiny_model("llama"))
        >>> [point.path for point in architecture.points("attn_out.{0..1}")]
        ['model.layers.0.self_attn', 'model.layers.1.self_attn']
    """

    def __init__(self, hf: PreTrainedModel, paths: ArchitectureMap) -> None:
        self.hf = hf
        self.map = paths
        self.blocks = list(hf.get_submodule(paths.blocks).children())
        config = hf.config.get_text_config()
        n_heads = config.num_attention_heads
        self._d_head = (
            getattr(config, "head_dim", None) or config.hidden_size // n_heads
        )

    @property
    def n_layers(self) -> int:
        return len(self.blocks)

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Every site that this model has, in the order of a forward pass."""
        everything = [c if c in GLOBAL_COMPONENTS else f"{c}.*" for c in COMPONENTS]
        return tuple(
            site for site in expand(everything, self.n_layers) if self._has(site)
        )

    @cached_property
    def fused_attention(self) -> Fused | None:
        """The projection that computes queries, keys and values at once, if any."""
        return fused_attention(self.hf, self.map)

    @cached_property
    def fused_gate(self) -> Fused | None:
        """The projection that computes an MLP's gate and input at once, if any."""
        return fused_gate(self.hf, self.map)

    @property
    def write_sites(self) -> tuple[Site, ...]:
        """The sites whose values add up to the residual stream.

        The first is the embedding as the first block gets it, with positions.
        """
        writes = expand(["attn_out.*", "mlp_out.*"], self.n_layers)
        return (Site("resid_pre", 0), *writes)

    def points(self, patterns: str | Site | Iterable[str | Site]) -> list[HookPoint]:
        """The hook points of all sites that the patterns name, in forward order.

        A wildcard names the layers that have the component; a single site must exist.

        Raises:
            UnknownSiteError: If a name is no site or a layer is not in the model.
            MissingSiteError: If the architecture has no such site.
        """
        if isinstance(patterns, str | Site):
            patterns = [patterns]
        found: list[Site] = []
        for pattern in patterns:
            sites = expand(pattern, self.n_layers)
            here = [site for site in sites if self._has(site)]
            is_wildcard = not isinstance(pattern, Site) and "*" in pattern
            if len(here) < len(sites) and not (is_wildcard and here):
                missing = next(site for site in sites if site not in here)
                raise self._missing(missing, str(pattern))
            found += here
        return [self.point(site) for site in expand(found, self.n_layers)]

    def point(self, site: Site | str) -> HookPoint:
        """The hook point of one site.

        Raises:
            UnknownSiteError: If the layer is not in the model.
            MissingSiteError: If the architecture has no such site.
        """
        (site,) = expand(site, self.n_layers)
        if site.component in GLOBAL_COMPONENTS:
            return self._global_point(site)
        assert site.layer is not None
        block_path = f"{self.map.blocks}.{site.layer}"
        block = self.blocks[site.layer]
        place = self._place(site)
        if place is None:
            raise self._missing(site, site.short)
        module = block.get_submodule(place.path) if place.path else block
        return HookPoint(
            site=site,
            path=f"{block_path}.{place.path}".rstrip("."),
            module=module,
            side=place.side,  # pyright: ignore[reportArgumentType]
            columns=None if place.columns is None else as_index(place.columns),
            n_heads=self._head_count(module, place) if place.heads else None,
            block=block if place.flat or place.bypassed else None,
            bypassed=place.bypassed,
        )

    def _global_point(self, site: Site) -> HookPoint:
        if site.component == "logits":
            return HookPoint(site=site, path="", module=self.hf, side="logits")
        path = self.map.embed if site.component == "embed" else self.map.final_norm
        if path is None:
            raise self._missing(site, site.short)
        module = self.hf.get_submodule(path)
        return HookPoint(site=site, path=path, module=module, side="output")

    def _has(self, site: Site) -> bool:
        if site.component in GLOBAL_COMPONENTS:
            return site.component != "final_norm" or self.map.final_norm is not None
        return self._place(site) is not None

    def _place(self, site: Site) -> _Place | None:
        """Where the site is, or None if this block has no such module."""
        place = self._planned(site.component)
        if place is None:
            return None
        try:
            assert site.layer is not None
            if place.path:
                self.blocks[site.layer].get_submodule(place.path)
        except AttributeError:
            return None
        return place

    def _planned(self, component: str) -> _Place | None:
        paths = self.map
        match component:
            case "resid_pre":
                return _Place("", "input")
            case "resid_post":
                return _Place("", "output")
            case "resid_mid" if not paths.parallel:
                first = paths.mlp_norm or paths.mlp
                return None if first is None else _Place(first, "input", bypassed=True)
            case "attn_out":
                return self._write(paths.attn_post_norm, paths.attn, paths.o)
            case "mlp_out":
                return self._write(paths.mlp_post_norm, paths.mlp, paths.mlp_down)
            case "q" | "k" | "v":
                return self._projection(component)
            case "z" if paths.o is not None:
                return _Place(paths.o, "input", heads=True)
            case "pattern":
                return _Place(paths.attn, "pattern")
            case "mlp_pre" if paths.mlp_pre is not None:
                return _Place(paths.mlp_pre, "output", flat=paths.mlp is None)
            case "mlp_pre" if (gate := self.fused_gate) is not None:
                return _Place(gate.path, "output", columns=gate.columns[0])
            case "mlp_post" if paths.mlp_down is not None:
                return _Place(paths.mlp_down, "input", flat=paths.mlp is None)
            case "router" if paths.router is not None:
                return _Place(paths.router, "output", flat=True)
            case _:
                return None

    def _write(
        self, post_norm: str | None, module: str | None, projection: str | None
    ) -> _Place | None:
        """Where a branch's addition to the residual stream can be seen."""
        if post_norm is not None:
            return _Place(post_norm, "output")
        if module is None:
            return (
                None if projection is None else _Place(projection, "output", flat=True)
            )
        # Bloom's modules get the residual stream and return it with their own part
        # added: there the projection's output is what is written.
        found = next((m for b in self.blocks if (m := _part(b, module))), None)
        if found is None:
            return None
        takes = inspect.signature(found.forward).parameters
        if "residual" in takes and projection:
            return _Place(projection, "output")
        return _Place(module, "output")

    def _projection(self, component: str) -> _Place | None:
        path = getattr(self.map, component)
        if path is not None:
            return _Place(path, "output", heads=True)
        fused = self.fused_attention
        if fused is None:
            return None
        columns = fused.columns["qkv".index(component)]
        return _Place(fused.path, "output", columns=columns, heads=True)

    def _head_count(self, module: nn.Module, place: _Place) -> int:
        if place.columns is not None:
            return len(place.columns) // self._d_head
        width = width_in(module) if place.side == "input" else width_out(module)
        return width // self._d_head

    def _missing(self, site: Site, asked: str) -> UnknownSiteError | MissingSiteError:
        known = [s.short for s in self.sites if s.layer in (site.layer, None)]
        kinds = ", ".join(dict.fromkeys(s.component for s in self.sites))
        why = _WHY_MISSING.get(site.component, "")
        has_sometimes = any(s.component == site.component for s in self.sites)
        if has_sometimes:
            layers = [s.layer for s in self.sites if s.component == site.component]
            why = f"Only the layers {layers} have it."
        return MissingSiteError(
            f"{type(self.hf).__name__} has no site {asked!r}.",
            expected=f"{why} Its sites: {kinds}.",
            remedy=closest(site.short, known),
        )


def _part(block: nn.Module, path: str) -> nn.Module | None:
    """A module in a block; the blocks of hybrids (Jamba) do not all have the same."""
    try:
        return block.get_submodule(path)
    except AttributeError:
        return None


def architecture_of(hf: PreTrainedModel) -> Architecture:
    """Find the sites of a model: by its TransformerLens adapter, else by structure.

    Args:
        hf: A causal language model; it is not changed.

    Returns:
        The resolved architecture; `interp.models.selfcheck.check` verifies it.

    Raises:
        UnsupportedModelError: If neither way finds decoder blocks.

    Example:
        >>> from tiny import tiny_model
        >>> architecture_of(tiny_model("gpt2")).map.source
        'TransformerLens adapter'
    """
    paths = remembered_map(hf, map_from_adapter) or map_from_structure(hf)
    return Architecture(hf, paths)
