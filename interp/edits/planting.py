"""Putting edits into a model for the length of a `with` block."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor

from interp.edits.alignment import on_device
from interp.edits.traced import traced_edits, traced_unedited
from interp.edits.values import Add, Edit, Erase, ProjectOut, Replace
from interp.edits.where import Locator, read_places
from interp.errors import MissingSiteError, ShapeError
from interp.models.attention import watched_attention
from interp.models.hookpoints import HookPoint, plant
from interp.models.language_model import LanguageModel
from interp.models.reading import Reader
from interp.models.traced import TracedModel
from interp.sites import Site


# Sites whose last axis is the residual stream: what does not fit there is refused
# before the model runs.
_RESIDUAL = frozenset(
    {"resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "final_norm"}
)

# How many blocks ask for the model without its edits; changed only under its lock.
_lifted: "weakref.WeakKeyDictionary[torch.nn.Module, int]" = weakref.WeakKeyDictionary()


@contextmanager
def edit(model: LanguageModel, edits: Edit | Sequence[Edit]) -> Iterator[None]:
    """Run a model with edits in force, in forward passes and in `generate`.

    The order is: sites in the order of the forward pass; at one site the edits in the
    order of the list, each on what the one before left; of nested blocks the outer one
    first. `interp.capture` inside the block sees edited values.

    Positions count the tokens of a prompt without padding, and stay right when
    `generate` goes on token by token with a key-value cache. In calls of the Hugging
    Face model itself an edit takes a text that is read in one pass for the prompt, and
    single tokens behind it for generated ones; `model.generate` and `interp.capture`
    know the prompts and say so. Where it cannot be told which tokens are the prompt
    (pieces of a prompt, drafts of assisted decoding), edits that depend on it are
    refused with an error. Beams and several samples of one prompt are edited alike.

    Args:
        model: The model; it is as before when the block ends, also by an exception.
        edits: One edit or several.

    Raises:
        UnknownSiteError: If a site does not exist.
        MissingSiteError: If the architecture has no such site, or cannot edit it.
        ShapeError: If values do not fit a site; at the latest in the forward pass.
        PositionError: In the forward pass, if a prompt has no such position.

    Example:
        >>> from tiny import tiny_model
        >>> from interp.edits import Clamp
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> with edit(model, [Clamp(site="z.1", index=3, value=0.0)]):
        ...     logits = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    if not isinstance(edits, Sequence):
        edits = [edits]
    planned = by_site(model, edits)
    if isinstance(model, TracedModel):
        with traced_edits(model, planned):
            yield
        return
    with ExitStack() as stack:
        # Hooks belong to the module and not to the thread: until they are gone, any
        # other thread's forward pass would be edited too, so others wait here.
        stack.enter_context(model.lock)
        reader = Reader(model.hf, model.architecture.map.blocks)
        # Callbacks are undone in reverse order, whatever happens in the block.
        stack.callback(reader.plant())
        has_pattern = any(point.side == "pattern" for point, _ in planned)
        if has_pattern and stack.enter_context(watched_attention(model.hf)):
            raise _fixed_patterns(model)
        locator = Locator(reader)
        for point, here in planned:
            editor = _Editor(model.hf, locator, point.site, here)
            for remove in plant(point, editor):
                stack.callback(remove)
        yield


@contextmanager
def unedited(model: LanguageModel) -> Iterator[None]:
    """Run a model as if no edit were in force, inside blocks of edits.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> with unedited(model):
        ...     clean = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    is_traced = isinstance(model, TracedModel)
    with model.lock, traced_unedited(model) if is_traced else nullcontext():
        _lifted[model.hf] = _lifted.get(model.hf, 0) + 1
        try:
            yield
        finally:
            _lifted[model.hf] -= 1


def by_site(
    model: LanguageModel, edits: Sequence[Edit]
) -> list[tuple[HookPoint, list[Edit]]]:
    """For every site in forward order its edits in the order of the list.

    Raises:
        UnknownSiteError: If a site does not exist.
        MissingSiteError: If the architecture has no such site.
        ShapeError: If a vector does not fit the residual stream.
    """
    found: dict[Site, tuple[HookPoint, list[Edit]]] = {}
    for one in edits:
        sites = one.site if isinstance(one.site, str | Site) else list(one.site)
        for point in model.architecture.points(sites):
            _check_width(model, point.site, one)
            found.setdefault(point.site, (point, []))[1].append(one)
    return [found[site] for site in sorted(found, key=lambda site: site.depth)]


def _check_width(model: LanguageModel, site: Site, one: Edit) -> None:
    match one:
        case Add(vector=held) | Replace(values=held) | ProjectOut(vectors=held):
            width = held.shape[-1] if held.ndim else 0
        case Erase(eraser=eraser):
            width = len(eraser.mean)
        case _:
            return
    if site.component in _RESIDUAL and width != model.d_model:
        raise ShapeError(
            f"The {type(one).__name__} for the site {site.short!r} has vectors of"
            f" {width} entries.",
            expected=f"The model has d_model {model.d_model}.",
            remedy="Use a direction that was found in this model.",
        )


class _Editor:
    """The callback at one site: applies its edits one after the other."""

    def __init__(
        self,
        hf: torch.nn.Module,
        locator: Locator,
        site: Site,
        edits: Sequence[Edit],
    ) -> None:
        self._hf = hf
        self._locator = locator
        self._site = site
        self._edits = edits
        self._places = [read_places(one.positions, one.when) for one in edits]
        self._moved: dict[torch.device, list[Edit]] = {}

    def __call__(self, value: Tensor) -> Tensor | None:
        if _lifted.get(self._hf, 0):
            return None
        is_pattern = self._site.component == "pattern"
        # Positions of a pattern are its queries; the heads come behind them.
        held = value.transpose(1, 2) if is_pattern else value
        # Sums and projections in half precision would lose what they are about.
        held = held.to(torch.promote_types(held.dtype, torch.float32))
        edits = self._edits_on(held.device)
        for one, places in zip(edits, self._places, strict=True):
            where = self._locator.find(places, one.when, site=self._site.short)
            if held.shape[1] < where.order.shape[1]:
                # `generate` asks for the logits of the last token only.
                where = where.last(held.shape[1])
            held = one.apply(held, where.on(held.device))
        held = held.to(value.dtype)
        return held.transpose(1, 2) if is_pattern else held

    def _edits_on(self, device: torch.device) -> list[Edit]:
        if device not in self._moved:
            self._moved[device] = [on_device(one, device) for one in self._edits]
        return self._moved[device]


def _fixed_patterns(model: LanguageModel) -> MissingSiteError:
    return MissingSiteError(
        f"The patterns of {type(model.hf).__name__} can be read but not edited.",
        expected="It does not use transformers' attention interface.",
        remedy="Edit 'z' instead.",
    )
