"""Names of the places inside a model that can be read and edited. Knows no torch.

A site is a component and, for components that every block has, a layer (0-based). The
long spelling is TransformerLens' hook name; the short one is accepted everywhere:

    Site("resid_post", 12)  ==  "resid_post.12"  ==  "blocks.12.hook_resid_post"

What each component means is TransformerLens' definition; `resid_post.L` equals Hugging
Face's `hidden_states[L + 1]`, except for the last block, whose HF entry is after the
final norm.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from interp.errors import UnknownSiteError, closest


# In the order in which a forward pass produces them.
Component = Literal[
    "embed",
    "resid_pre",
    "q",
    "k",
    "v",
    "pattern",
    "z",
    "attn_out",
    "resid_mid",
    "router",
    "mlp_pre",
    "mlp_post",
    "mlp_out",
    "resid_post",
    "final_norm",
    "logits",
]
COMPONENTS: tuple[Component, ...] = get_args(Component)
GLOBAL_COMPONENTS: frozenset[Component] = frozenset({"embed", "final_norm", "logits"})

# TransformerLens' spelling of each component, `{L}` standing for the layer.
_HOOK_NAMES: dict[Component, str] = {
    "embed": "hook_embed",
    "resid_pre": "blocks.{L}.hook_resid_pre",
    "resid_mid": "blocks.{L}.hook_resid_mid",
    "resid_post": "blocks.{L}.hook_resid_post",
    "attn_out": "blocks.{L}.hook_attn_out",
    "mlp_out": "blocks.{L}.hook_mlp_out",
    "q": "blocks.{L}.attn.hook_q",
    "k": "blocks.{L}.attn.hook_k",
    "v": "blocks.{L}.attn.hook_v",
    "z": "blocks.{L}.attn.hook_z",
    "pattern": "blocks.{L}.attn.hook_pattern",
    "mlp_pre": "blocks.{L}.mlp.hook_pre",
    "mlp_post": "blocks.{L}.mlp.hook_post",
    "router": "blocks.{L}.mlp.hook_router_logits",
    "final_norm": "ln_final.hook_out",
    "logits": "unembed.hook_out",
}
_LONG: dict[re.Pattern[str], Component] = {
    re.compile(re.escape(name).replace(r"\{L\}", r"(\d+)") + "$"): component
    for component, name in _HOOK_NAMES.items()
}


@dataclass(frozen=True, slots=True)
class Site:
    """One place in a model.

    Example:
        >>> str(Site("resid_post", 12)), Site("resid_post", 12).short
        ('blocks.12.hook_resid_post', 'resid_post.12')
    """

    component: Component
    layer: int | None = None

    def __post_init__(self) -> None:
        _known(self.component)
        if (self.layer is None) != (self.component in GLOBAL_COMPONENTS):
            kind = "has no layer" if self.layer is not None else "needs a layer"
            raise UnknownSiteError(
                f"The site {self.component!r} {kind}.",
                remedy=f"Write {self.component!r}."
                if self.layer is not None
                else f"Write '{self.component}.0' or '{self.component}.*'.",
            )

    @property
    def short(self) -> str:
        if self.layer is None:
            return self.component
        return f"{self.component}.{self.layer}"

    def __str__(self) -> str:
        return _HOOK_NAMES[self.component].format(L=self.layer)

    @property
    def depth(self) -> tuple[float, int]:
        """A sort key: the order in which a forward pass produces the sites."""
        first = self.component == "embed"
        layer = -1 if first else float("inf") if self.layer is None else self.layer
        return (layer, COMPONENTS.index(self.component))


def _known(name: str) -> Component:
    if name not in COMPONENTS:
        raise UnknownSiteError(
            f"No site is called {name!r}.",
            expected=f"Sites: {', '.join(COMPONENTS)}.",
            remedy=closest(name, COMPONENTS),
        )
    return name


def parse(text: str) -> Site:
    """Read one site in the short or in the long spelling, without wildcards.

    Raises:
        UnknownSiteError: If the name is not a site.

    Example:
        >>> parse("blocks.3.attn.hook_z") == parse("z.3") == Site("z", 3)
        True
    """
    for pattern, component in _LONG.items():
        if match := pattern.match(text):
            return Site(component, int(match[1]) if match.groups() else None)
    name, _, layer = text.partition(".")
    if layer and not layer.isdigit():
        raise UnknownSiteError(
            f"Cannot read the layer of the site {text!r}.",
            expected="A layer is a number counted from 0.",
            remedy=f"Write '{name}.0'.",
        )
    return Site(_known(name), int(layer) if layer else None)


def expand(
    patterns: "str | Site | Iterable[str | Site]", n_layers: int
) -> tuple[Site, ...]:
    """All sites that the patterns name, in the order of a forward pass, each once.

    Args:
        patterns: One or several of `"resid_post.12"`, `"resid_post.*"`,
            `"z.{8..15}"`, `"z.{1,5,9}"`, `"embed"`, TransformerLens names (with `*` for
            the layer too), or `Site` values. A negative layer counts from the end.
        n_layers: How many blocks the model has.

    Raises:
        UnknownSiteError: If a name is no site, or a layer is not in the model.

    Example:
        >>> [site.short for site in expand(["z.{1..2}", "embed"], n_layers=4)]
        ['embed', 'z.1', 'z.2']
    """
    if isinstance(patterns, str | Site):
        patterns = [patterns]
    found: dict[Site, None] = {}
    for pattern in patterns:
        for site in _expand_one(pattern, n_layers):
            found[site] = None
    if not found:
        raise UnknownSiteError(
            "No site was asked for.",
            remedy="Name at least one, for example 'resid_post.*'.",
        )
    return tuple(sorted(found, key=lambda site: site.depth))


def _expand_one(pattern: "str | Site", n_layers: int) -> list[Site]:
    if isinstance(pattern, Site):
        sites = [pattern]
    else:
        pattern = _shorten(pattern.strip())
        component, _, layers = pattern.partition(".")
        if not layers:
            sites = [parse(pattern)]
        else:
            name = _known(component)
            sites = [Site(name, at) for at in _layers(layers, pattern, n_layers)]
    for site in sites:
        if site.layer is not None and not 0 <= site.layer < n_layers:
            raise UnknownSiteError(
                f"There is no layer {site.layer} for the site {str(pattern)!r}.",
                expected=f"The model has {n_layers} layers, 0 to {n_layers - 1}.",
                remedy=f"Write '{site.component}.{n_layers - 1}' for the last one.",
            )
    return sites


def _shorten(pattern: str) -> str:
    """Turn `blocks.*.hook_resid_post` into `resid_post.*`."""
    for component, name in _HOOK_NAMES.items():
        expression = re.escape(name).replace(r"\{L\}", r"(\*|\{[^}]*\}|-?\d+)") + "$"
        if match := re.match(expression, pattern):
            return f"{component}.{match[1]}" if match.groups() else component
    return pattern


def _layers(text: str, pattern: str, n_layers: int) -> Sequence[int]:
    if text == "*":
        return range(n_layers)
    if match := re.fullmatch(r"\{(\d+)\.\.(\d+)\}", text):
        first, last = int(match[1]), int(match[2])
        return range(first, last + 1)
    if re.fullmatch(r"\{\d+(,\s*\d+)*\}", text):
        return [int(layer) for layer in text.strip("{}").split(",")]
    if re.fullmatch(r"-?\d+", text):
        layer = int(text)
        return [layer + n_layers if layer < 0 else layer]
    raise UnknownSiteError(
        f"Cannot read the layers of the site {pattern!r}.",
        expected="Layers are written '12', '*', '{8..15}' or '{1,5,9}'.",
    )
