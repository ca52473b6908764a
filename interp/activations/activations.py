"""`Activations`: captured rows, and which token each of them was read at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.errors import MissingSiteError, ShapeError, closest
from interp.positions import Positions
from interp.provenance import ModelRecord
from interp.sites import COMPONENTS, GLOBAL_COMPONENTS, Site, parse


Chosen = (
    Sequence[int | np.integer]
    | Int[np.ndarray, " row"]
    | Bool[np.ndarray, " example"]
    | Int[Tensor, " row"]
    | Bool[Tensor, " example"]
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activations:
    """Activations of several prompts at chosen sites and positions.

    `acts["resid_post"]` stacks the layers of a component, `acts["resid_post.3"]` is one
    site; where several positions were read an axis `pos` follows, padded with zeros on
    the right, and `mask` tells which slots are real.

    Attributes:
        sites: Every captured site, in forward order.
        values: The rows by component or, where layers cannot be stacked, by site.
        token_ids: The token ids of each prompt.
        texts: The text that was tokenised, or None where token ids were given.
        resolved: The token indices that were read.
        tokenizer: For decoding, or None.
        provenance: Which model the rows come from, without hashes of its files.
    """

    sites: tuple[Site, ...]
    values: Mapping[str, Tensor]
    token_ids: tuple[tuple[int, ...], ...]
    texts: tuple[str | None, ...]
    resolved: Positions
    tokenizer: Any = None
    provenance: ModelRecord | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, name: str | Site) -> Float[Tensor, "example ..."]:
        """The rows of a site, or of all captured layers of a component.

        Raises:
            MissingSiteError: If it was not captured.
            ShapeError: If the component's layers differ in shape.
        """
        if isinstance(name, str) and name in self.values:
            return self.values[name]
        known = dict.fromkeys([*(s.component for s in self.sites)])
        if isinstance(name, str) and name in known:
            raise ShapeError(
                f"The layers of {name!r} differ in shape and cannot be stacked.",
                remedy=f"Take one of {', '.join(self._shorts(name))}.",
            )
        if name in COMPONENTS and name not in GLOBAL_COMPONENTS:
            raise self._missing(str(name))
        site = name if isinstance(name, Site) else parse(name)
        if site not in self.sites:
            raise self._missing(site.short)
        if site.short in self.values:
            return self.values[site.short]
        layers = [s.layer for s in self.sites if s.component == site.component]
        return self.values[site.component][:, layers.index(site.layer)]

    @property
    def positions(self) -> str:
        """The positions as they were asked for."""
        return self.resolved.spec

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many tokens each prompt has."""
        return tuple(map(len, self.token_ids))

    @property
    def mask(self) -> Bool[Tensor, "example pos"]:
        """Which slots of the axis `pos` are real."""
        counts = torch.tensor([len(places) for places in self.resolved.index])
        return torch.arange(self.resolved.n_slots) < counts[:, None]

    def layers(self, component: str) -> tuple[int, ...]:
        """The captured layers of a component, in the order of its layer axis."""
        return tuple(
            s.layer
            for s in self.sites
            if s.component == component and s.layer is not None
        )

    def tokens(self, example: int) -> tuple[str, ...]:
        """The decoded token at each position that was read of one prompt."""
        ids = [self.token_ids[example][place] for place in self.resolved.index[example]]
        if self.tokenizer is None:
            return tuple(f"<{token}>" for token in ids)
        return tuple(self.tokenizer.decode([token]) for token in ids)

    def by_site(self) -> dict[str, Float[Tensor, "example ..."]]:
        """The rows of each site under its short name, as views."""
        return {site.short: self[site] for site in self.sites}

    def select(self, rows: Chosen) -> "Activations":
        """Some of the prompts, by index or by mask.

        Raises:
            ShapeError: If a mask has not one entry per prompt, or an index is outside.
        """
        # A copy: an index of NumPy may run backwards or be protected from writing.
        held = rows if isinstance(rows, Tensor) else np.array(rows)
        chosen = torch.as_tensor(held)
        if chosen.dtype == torch.bool:
            if chosen.shape != (len(self),):
                raise ShapeError(
                    f"A mask of shape {tuple(chosen.shape)} for {len(self)} prompts.",
                    expected="A mask has one entry for each.",
                )
            chosen = chosen.nonzero()[:, 0]
        chosen = chosen.long().cpu()
        if chosen.dim() != 1 or (
            len(chosen) and not -len(self) <= chosen.min() <= chosen.max() < len(self)
        ):
            raise ShapeError(
                f"Rows {chosen.tolist()} were selected from {len(self)} prompts.",
                expected="Rows are a list of indices.",
            )
        numbers = [row % len(self) for row in chosen.tolist()]
        index = torch.tensor(numbers, dtype=torch.long)
        return replace(
            self,
            values={
                name: value[index.to(value.device)]
                for name, value in self.values.items()
            },
            token_ids=tuple(self.token_ids[row] for row in numbers),
            texts=tuple(self.texts[row] for row in numbers),
            resolved=self.resolved.select(numbers),
        )

    def to(self, target: torch.device | torch.dtype | str) -> "Activations":
        """The same rows on another device or in another dtype."""
        values = {name: value.to(target) for name, value in self.values.items()}
        return replace(self, values=values)

    def _missing(self, name: str) -> MissingSiteError:
        shorts = [site.short for site in self.sites]
        return MissingSiteError(
            f"The site {name!r} was not captured.",
            expected=f"Captured are: {_shortened(shorts)}.",
            remedy=closest(name, shorts) or "Name it in sites=.",
        )

    def _shorts(self, component: str) -> list[str]:
        return [s.short for s in self.sites if s.component == component]

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name} {list(value.shape)}" for name, value in self.values.items()
        )
        return f"Activations({len(self)} prompts at {self.positions!r}: {shapes})"


def _shortened(names: Sequence[str]) -> str:
    if len(names) <= 8:
        return ", ".join(names)
    return f"{', '.join(names[:4])}, ..., {names[-1]}"
