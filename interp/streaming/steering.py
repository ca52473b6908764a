"""Edits along a direction in units of its class gap, and how large they are."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal, assert_never, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.directions.direction import Direction
from interp.edits import Add, Clamp, Edit, ProjectOut
from interp.edits.planting import edit
from interp.edits.where import When
from interp.errors import ConfigError, ShapeError
from interp.models.hookpoints import plant
from interp.models.language_model import LanguageModel
from interp.models.one_prompt import Prompt, prompt_ids, template_mask
from interp.models.reading import stated_batch
from interp.sites import Site, parse
from interp.streaming.readers import midpoint


Operation = Literal["add", "project_out", "at_most", "at_least"]
# Beyond this share of the usual norm an edit leaves what the model has ever seen.
LARGE_EDIT = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bound:
    """Keeps the projection on a direction within bounds; a change for `Clamp`.

    Attributes:
        unit: The direction, of length 1.
        low: The least projection, or None.
        high: The greatest projection, or None.
    """

    unit: Float[Tensor, " d"]
    low: float | None = None
    high: float | None = None

    def __call__(self, part: Float[Tensor, "batch pos d"]) -> Tensor:
        unit = self.unit.to(part.device, part.dtype)
        held = part @ unit
        return part + (held.clamp(self.low, self.high) - held)[..., None] * unit


def steering_edits(
    model: LanguageModel,
    direction: Direction,
    *,
    operation: Operation = "add",
    strength: float = 1.0,
    layers: Literal["own", "all"] | tuple[int, int] = "own",
    when: When = "both",
) -> tuple[Edit, ...]:
    """The edits that steer along a direction, in units of its class gap.

    * `add` moves every token by `strength` times the distance of the class means.
    * `project_out` removes the direction; `strength` is not used.
    * `at_most` and `at_least` keep the token's score (0 between the class means, +-0.5
      at them, as `reader_of` tells it) below or above `strength`, and leave tokens
      that are there.

    Args:
        model: The model.
        direction: With its site and scale.
        operation: What is done.
        strength: In units of the direction's class gap.
        layers: At the direction's own site, at every layer of its component, or from
            one layer to another, both included.
        when: In the prompt, in what is generated, or both.

    Raises:
        ConfigError: If the direction has no site, or a word is unknown.
        ShapeError: If the direction is of another model.
        UnknownSiteError: If a layer is not in the model.

    Example:
        >>> from tiny import tiny_model
        >>> import interp, numpy as np
        >>> model = interp.load(tiny_model("llama"))
        >>> up = Direction.from_vector(np.ones(32), site="resid_post.1")
        >>> [one.site for one in steering_edits(model, up, layers=(0, 1))]
        ['resid_post.0', 'resid_post.1']
    """
    if not direction.site:
        raise ConfigError(
            "The direction to steer with has no site.",
            expected="A site such as 'resid_post.12'.",
            remedy="Use dataclasses.replace(direction, site=...).",
        )
    if operation not in get_args(Operation):
        raise ConfigError(
            f"operation={operation!r} is unknown.",
            expected=f"One of {', '.join(get_args(Operation))}.",
        )
    if len(direction.unit) != model.d_model:
        raise ShapeError(
            f"The direction has {len(direction.unit)} entries.",
            expected=f"The model has d_model {model.d_model}.",
            remedy="Use a direction that was found in this model.",
        )
    unit = torch.from_numpy(direction.unit.copy())
    level = midpoint(direction) + strength * direction.scale

    def at(site: str) -> Edit:
        match operation:
            case "add":
                vector = unit * direction.scale
                return Add(site=site, vector=vector, strength=strength, when=when)
            case "project_out":
                return ProjectOut(site=site, vectors=unit, when=when)
            case "at_most":
                return Clamp(site=site, value=Bound(unit=unit, high=level), when=when)
            case "at_least":
                return Clamp(site=site, value=Bound(unit=unit, low=level), when=when)
            case _:
                assert_never(operation)

    return tuple(at(site) for site in _sites(model, direction, layers))


def _sites(
    model: LanguageModel,
    direction: Direction,
    layers: Literal["own", "all"] | tuple[int, int],
) -> list[str]:
    component = parse(direction.site).component
    match layers:
        case "own":
            wanted = direction.site
        case "all":
            wanted = f"{component}.*"
        case (first, last) if 0 <= first <= last < model.n_layers:
            wanted = f"{component}.{{{first}..{last}}}"
        case _:
            raise ConfigError(
                f"layers={layers!r} is no range of layers.",
                expected=f"'own', 'all' or two of 0 to {model.n_layers - 1}, in order.",
            )
    return [point.site.short for point in model.architecture.points(wanted)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSize:
    """How far an edit moves a site's value, beside how long that value usually is.

    Attributes:
        site: The site.
        change: The median length of what the edits add, over tokens.
        norm: The median length of the value there without them.
    """

    site: str
    change: float
    norm: float

    @property
    def ratio(self) -> float:
        """How many usual lengths the value is moved by."""
        return self.change / self.norm if self.norm else float("inf")

    @property
    def is_large(self) -> bool:
        """Whether the edit moves by more than 1.5 usual lengths."""
        return self.ratio > LARGE_EDIT


def edit_sizes(
    model: LanguageModel,
    prompt: Prompt,
    edits: Edit | Sequence[Edit],
    *,
    chat: bool = False,
) -> tuple[EditSize, ...]:
    """How large edits are at each site, measured on the tokens of a prompt.

    The values are those of the unedited model, and every edit is taken as if it were
    made at every token, at one site at a time. The first token and those of the
    template are left out unless there are no others: they are unlike all others.

    Args:
        model: The model.
        prompt: A text, or token ids.
        edits: The edits.
        chat: Whether the text is a user message to be put into the chat template.

    Raises:
        PromptError: If the prompt cannot be read.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> push = Add(site="resid_post.1", vector=torch.eye(32)[0], strength=-3.0)
        >>> round(edit_sizes(model, [5, 6, 7], push)[0].change, 4)
        3.0
    """
    edits = tuple(edits) if isinstance(edits, Sequence) else (edits,)
    ids = prompt_ids(model, prompt, chat=chat)
    hidden = template_mask(model, prompt, chat=chat)
    hidden[0] = True
    counted = torch.from_numpy(~hidden if not hidden.all() else hidden)
    by_site: dict[Site, list[Edit]] = {}
    for one in edits:
        sites = one.site if isinstance(one.site, str | Site) else list(one.site)
        for point in model.architecture.points(sites):
            everywhere = replace(one, site=point.site, positions="all", when="both")
            by_site.setdefault(point.site, []).append(everywhere)
    return tuple(
        _size(model, ids, site, here, counted) for site, here in by_site.items()
    )


def _size(
    model: LanguageModel,
    ids: tuple[int, ...],
    site: Site,
    edits: Sequence[Edit],
    counted: Tensor,
) -> EditSize:
    values: list[Tensor] = []

    def keep(value: Tensor) -> None:
        values.append(value[0].flatten(1).float().cpu())

    point = model.architecture.point(site)
    with ExitStack() as stack:
        stack.enter_context(model.lock)
        for remove in plant(point, keep):
            stack.callback(remove)
        # What is planted later at a site sees what the edits left.
        stack.enter_context(edit(model, edits))
        for remove in plant(point, keep):
            stack.callback(remove)
        stack.enter_context(stated_batch(model.hf, prompt_lengths=[len(ids)]))
        stack.enter_context(torch.inference_mode())
        model.hf(
            input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False
        )
    before, after = values[0][counted], values[1][counted]
    return EditSize(
        site=site.short,
        change=float((after - before).norm(dim=-1).median()),
        norm=float(before.norm(dim=-1).median()),
    )
