"""The edits that one reaches for: steer, ablate, patch, clamp."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.directions.direction import Direction
from interp.directions.erasure import Eraser
from interp.directions.subspace import Subspace
from interp.edits.alignment import Array, Index, Sites
from interp.edits.planting import edit, unedited
from interp.edits.traced import traced_writes
from interp.edits.values import Add, Change, Clamp, Erase, ProjectOut, Replace
from interp.edits.where import PositionsAsked, When
from interp.errors import ConfigError, SelfCheckError
from interp.models.language_model import LanguageModel
from interp.models.selfcheck import writes_add_up
from interp.models.traced import TracedModel
from interp.sites import Site


Vector = Direction | Array


@contextmanager
def steer(
    model: LanguageModel,
    direction: Vector,
    strength: float | Array = 1.0,
    *,
    site: Sites | None = None,
    layers: int | Sequence[int] | None = None,
    positions: PositionsAsked = "all",
    when: When = "both",
) -> Iterator[None]:
    """Run a model with a direction added to its activations.

    Strength 1 moves an example by the distance between the class means of the
    direction; -1 moves it back.

    Args:
        model: The model.
        direction: A `Direction`, or a vector, which is added as long as it is. Vectors
            `[prompt, d_model]` give each prompt its own.
        strength: A number, or one for each prompt.
        site: Where; by default the site where the direction was found.
        layers: At these layers instead of the site's own.
        positions: At which tokens; see `interp.edits.values`.
        when: In the prompt, in what is generated, or both.

    Raises:
        ConfigError: If a plain vector is given without a site.
        ShapeError: If the vector does not fit the site.
        DataError: If it has values that are not finite.

    Source:
        Turner et al. (2023), arXiv:2308.10248; Arditi et al. (2024), arXiv:2406.11717.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> with steer(model, torch.ones(32), 0.5, site="resid_post.1"):
        ...     logits = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    if site is None and isinstance(direction, Direction):
        site = direction.site or None
    if site is None:
        raise ConfigError(
            "No site was given to steer at.",
            expected="A plain vector does not know where it was found.",
            remedy="Write site='resid_post.12'.",
        )
    if layers is not None:
        site = _at_layers(site, layers)
    vector = direction.vector if isinstance(direction, Direction) else direction
    add = Add(
        site=site, vector=vector, strength=strength, positions=positions, when=when
    )
    with edit(model, add):
        yield


@contextmanager
def ablate(
    model: LanguageModel,
    direction: Vector | Subspace | Sequence[Vector | Subspace],
    *,
    to: float | Array | None = None,
    sites: Literal["writes"] | Sites = "writes",
    per_row: bool = False,
    positions: PositionsAsked = "all",
    when: When = "both",
) -> Iterator[None]:
    """Run a model without a direction in its residual stream.

    With `sites="writes"` the direction is projected out of the embedding and of
    everything that attention and MLP add, so that no layer can read it. In half
    precision what is left is rounding.

    Args:
        model: The model.
        direction: One direction, or several (a list, vectors `[k, d_model]`, or a
            `Subspace`) whose span is removed. Lengths do not matter.
        to: Keep the projection on each unit direction at this value instead of 0, for
            example `direction.negative_mean`. Among the writes the embedding gets it
            and the others nothing, so the whole stream has it at every layer.
        sites: The write sites, or sites of your own choice, each of which gets `to`.
        per_row: Whether the vectors are one (or k) for each prompt, `[prompt, d_model]`
            or `[prompt, k, d_model]`, and not one subspace.
        positions: At which tokens; see `interp.edits.values`.
        when: In the prompt, in what is generated, or both.

    Raises:
        SelfCheckError: If the model's known writes do not add up to its residual
            stream, so that something of the direction would stay.
        DataError: If a direction is zero, not finite, or in the span of the others.

    Source:
        Arditi et al. (2024), arXiv:2406.11717; affine: Marshall et al. (2024),
        arXiv:2411.09003.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> with ablate(model, torch.ones(32)):
        ...     logits = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    vectors = _stacked(direction)
    level = 0.0 if to is None else to

    def project_out(site: Sites, to: float | Array) -> ProjectOut:
        return ProjectOut(
            site=site,
            vectors=vectors,
            to=to,
            per_row=per_row,
            positions=positions,
            when=when,
        )

    if sites != "writes":
        edits = [project_out(sites, level)]
    else:
        _require_writes(model)
        first, *others = model.architecture.write_sites
        edits = [project_out(first, level), project_out(others, 0.0)]
    with edit(model, edits):
        yield


@contextmanager
def erase(
    model: LanguageModel,
    eraser: Eraser,
    *,
    site: Sites | None = None,
    positions: PositionsAsked = "all",
    when: When = "both",
) -> Iterator[None]:
    """Run a model with a concept erased from its activations.

    At a site of one layer: what later layers compute anew from other positions or from
    tokens is not erased.

    Args:
        model: The model.
        eraser: What `interp.directions.fit_leace` or `fit_inlp` returned.
        site: Where; by default the site of the activations it was fitted to.
        positions: At which tokens; see `interp.edits.values`.
        when: In the prompt, in what is generated, or both.

    Raises:
        ConfigError: If neither the eraser nor the call names a site.
        ShapeError: If the eraser does not fit the site.

    Source:
        Belrose et al. (2023), arXiv:2306.03819.

    Example:
        >>> from tiny import tiny_model
        >>> from interp.directions import fit_leace
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> eraser = fit_leace(torch.randn(50, 32), torch.arange(50) % 2)
        >>> with erase(model, eraser, site="resid_post.1"):
        ...     logits = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    if site is None and not eraser.site:
        raise ConfigError(
            "No site was given to erase at.",
            expected="This eraser does not know where its activations are from.",
            remedy="Write site='resid_post.12'.",
        )
    place = eraser.site if site is None else site
    with edit(model, Erase(site=place, eraser=eraser, positions=positions, when=when)):
        yield


@contextmanager
def patch(
    model: LanguageModel,
    values: Mapping[str | Site, Array | tuple[PositionsAsked, Array]],
    *,
    when: When = "prompt",
) -> Iterator[None]:
    """Run a model with activations of another run put in place of its own.

    Args:
        model: The model.
        values: For each site the values, or a pair (positions, values). Values are
            `[d]` for all, `[prompt, d]`, or `[prompt, pos, d]` with one for each of
            the positions in their order; `d` stands for whatever axes the site has
            behind the position.
        when: In the prompt, in what is generated, or both.

    Raises:
        ShapeError: If values do not fit their site.
        PositionError: In the forward pass, if a prompt has no such position.

    Source:
        Meng et al. (2022), arXiv:2202.05262; Zhang & Nanda (2023), arXiv:2309.16042.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> with patch(model, {"resid_post.1": ("last", torch.zeros(32))}):
        ...     logits = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    edits = []
    for site, given in values.items():
        places, array = given if isinstance(given, tuple) else ("all", given)
        edits.append(Replace(site=site, values=array, positions=places, when=when))
    with edit(model, edits):
        yield


@contextmanager
def clamp(
    model: LanguageModel,
    values: Mapping[
        str | Site,
        float | Array | Change | tuple[Index | None, float | Array | Change],
    ],
    *,
    positions: PositionsAsked = "all",
    when: When = "both",
) -> Iterator[None]:
    """Run a model with parts of its activations held at given values.

    For bounds, and for several parts of one site, use `edit` with `Clamp` values.

    Args:
        model: The model.
        values: For each site a value for all of it, or a pair (index, value): a head
            `(3, 0.0)` of `z`, a coordinate `((3, 5), 0.0)` of it, neurons
            `([7, 9], 0.0)` of `mlp_post`. A value is a number, an array that fits the
            part, or a function of the part.
        positions: At which tokens; see `interp.edits.values`.
        when: In the prompt, in what is generated, or both.

    Raises:
        ShapeError: In the forward pass, if a site has no such part or the value does
            not fit it.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> with clamp(model, {"mlp_post.2": ([7, 9], 0.0)}):
        ...     logits = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    edits = []
    for site, given in values.items():
        index, value = given if isinstance(given, tuple) else (None, given)
        edits.append(
            Clamp(site=site, index=index, value=value, positions=positions, when=when)
        )
    with edit(model, edits):
        yield


def _at_layers(site: Sites, layers: int | Sequence[int]) -> list[str]:
    sites = [site] if isinstance(site, str | Site) else site
    components = dict.fromkeys(
        one.component if isinstance(one, Site) else one.partition(".")[0]
        for one in sites
    )
    numbers = [layers] if isinstance(layers, int) else layers
    return [f"{component}.{layer}" for component in components for layer in numbers]


def _stacked(
    direction: Vector | Subspace | Sequence[Vector | Subspace],
) -> Float[Tensor, "..."]:
    """One vector, or several as rows."""
    match direction:
        case Direction():
            return torch.from_numpy(direction.unit.copy())
        case Subspace():
            return torch.from_numpy(direction.basis.copy())
        case Tensor():
            return direction
        case np.ndarray():
            return torch.from_numpy(direction.copy())
    rows = [_stacked(one) for one in direction]
    if not rows:
        raise ConfigError("No direction was given to ablate.")
    if any(isinstance(one, Subspace) for one in direction):
        rows = [row for some in rows for row in some.reshape(-1, some.shape[-1])]
    widths = {tuple(row.shape) for row in rows}
    if len(widths) > 1:
        raise ConfigError(
            f"The directions to ablate have different shapes: {sorted(widths)}.",
            expected="Directions of one model.",
        )
    return torch.stack([row.to("cpu", torch.float64) for row in rows])


def _require_writes(model: LanguageModel) -> None:
    # Other edits that are in force are not part of the model, and would not add up.
    with unedited(model):
        if isinstance(model, TracedModel) and model.remote:
            found = traced_writes(model)
        else:
            found = writes_add_up(model)
    if not found.passed:
        raise SelfCheckError(
            f"Ablation was refused for {model.name or type(model.hf).__name__}.",
            expected="Embedding + sum of writes must equal the final residual stream;"
            f" they differ by {found.error:.2g} of its size.",
            remedy="Name the sites yourself: sites='resid_post.*'.",
        )
