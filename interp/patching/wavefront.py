"""The exact grid of a group of pairs, block by block: only what a patch moves.

A patch at layer l and position t leaves all layers up to l and all positions before t
as they were. A tile holds the packed rows of one pair, unit and patched layer: it joins
the wavefront behind block l, already patched, and goes through the remaining blocks
together with the tiles of other layers, pairs and units.

For the components of a block the tile's first values come from one pass of that block
with the component replaced at every position at once: behind the attention a block
works on each position alone, so each position has the value its own patch gives it.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations.batching import run_batches
from interp.models.hookpoints import plant
from interp.patching.cache import Prefix, frozen_cache
from interp.patching.packing import Packing, pack, split_rows
from interp.patching.plan import Component, Group, Job
from interp.patching.readout import Readout
from interp.patching.recording import Recording, Runs
from interp.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One unit, one pair (counted in its group), one first patched layer."""

    unit: int
    pair: int
    layer: int


@dataclass(slots=True, kw_only=True, eq=False)
class Wavefront:
    """The grid of one group.

    Attributes:
        job: The trace.
        group: The pairs.
        runs: Their unpatched runs.
        recording: What entering the blocks needs.
        prefix: The keys and values of the prefix.
        readout: From the last block's output to LD.
        token_layers: Tokens times blocks computed so far.
    """

    job: Job
    group: Group
    runs: Runs
    recording: Recording
    prefix: Prefix
    readout: Readout
    token_layers: int = 0
    _answers: Tensor = field(init=False)

    def __post_init__(self) -> None:
        pairs = self.job.pairs
        self._answers = torch.tensor(
            [[pairs.positive[i], pairs.negative[i]] for i in self.group.pairs],
            device=self._device,
        )

    def grid(
        self, rows: Sequence[int], layers: Sequence[int]
    ) -> Float[Tensor, "unit pair layer row"]:
        """LD with a patch at each of these layers and grid positions.

        Args:
            rows: Grid positions, ascending.
            layers: First patched layers, ascending; the last block is not among them.
        """
        n_units, n_pairs = len(self.job.units), len(self.group.pairs)
        tiles = [
            Tile(unit=unit, pair=pair, layer=layer)
            for layer in layers
            for unit in range(n_units)
            for pair in range(n_pairs)
        ]
        pieces = [
            self._piece(tiles, piece) for piece in split_rows(rows, self.group.length)
        ]
        ld = torch.cat(pieces, dim=1)
        return ld.unflatten(0, (len(layers), n_units, n_pairs)).permute(1, 2, 0, 3)

    def last_cell(self) -> Float[Tensor, "unit pair"]:
        """LD with a patch in the last block at the last position."""
        n_units, n_pairs = len(self.job.units), len(self.group.pairs)
        layer = self.job.model.n_layers - 1
        tiles = [
            Tile(unit=unit, pair=pair, layer=layer)
            for unit in range(n_units)
            for pair in range(n_pairs)
        ]
        packing = self._pack([self.group.length - 1])
        found = torch.empty(len(tiles), 1)

        def step(chosen: tuple[int, ...]) -> None:
            picked = [tiles[i] for i in chosen]
            entries = self._entry_values(layer, picked, packing)
            found[list(chosen)] = self._read(entries, picked).float().cpu()

        lengths = [self.group.length] * len(tiles)
        run_batches(lengths, step, token_budget=self.job.token_budget)
        return found[:, 0].unflatten(0, (n_units, n_pairs))

    @property
    def _device(self) -> torch.device:
        return self.recording.inputs[0].device

    def _pack(self, rows: Sequence[int]) -> Packing:
        return pack(
            rows,
            length=self.group.length,
            prefix=self.prefix.length,
            device=self._device,
        )

    def _piece(
        self, tiles: Sequence[Tile], rows: Sequence[int]
    ) -> Float[Tensor, "tile row"]:
        packing = self._pack(rows)
        found = torch.empty(len(tiles), len(rows))

        def step(chosen: tuple[int, ...]) -> None:
            chosen = tuple(sorted(chosen))
            final = self._through_all([tiles[i] for i in chosen], packing)
            picked = [tiles[i] for i in chosen]
            found[list(chosen)] = self._read(final, picked).float().cpu()

        lengths = [packing.size] * len(tiles)
        run_batches(lengths, step, token_budget=self.job.token_budget)
        return found

    def _read(
        self, final: Float[Tensor, "tile row d_model"], tiles: Sequence[Tile]
    ) -> Float[Tensor, "tile row"]:
        answers = self._answers[[tile.pair for tile in tiles]]
        answers = answers[:, None].expand(-1, final.shape[1], -1)
        return self.readout(final, answers[..., 0], answers[..., 1])

    def _through_all(
        self, tiles: Sequence[Tile], packing: Packing
    ) -> Float[Tensor, "tile row d_model"]:
        """The final residual stream at the end of every row; tiles sorted by layer."""
        hidden: Tensor | None = None
        inside = 0
        for layer in range(tiles[0].layer, self.job.model.n_layers):
            if hidden is not None:
                hidden = self._through(layer, hidden, tiles[:inside], packing)
            entering = [tile for tile in tiles[inside:] if tile.layer == layer]
            if entering:
                new = self._entries(layer, entering, packing)
                hidden = new if hidden is None else torch.cat([hidden, new])
                inside += len(entering)
        assert hidden is not None
        return hidden[:, _beside(hidden, packing.last)]

    def _through(
        self, layer: int, hidden: Tensor, tiles: Sequence[Tile], packing: Packing
    ) -> Tensor:
        """Packed rows through one block; windows that reach it are patched again."""
        pairs = self._pairs(tiles)
        window = [
            number
            for number, tile in enumerate(tiles)
            if layer < tile.layer + self.job.window
        ]
        with ExitStack() as stack:
            for component in self.job.components if window else ():
                numbers = [
                    n
                    for n in window
                    if self.job.units[tiles[n].unit].component == component
                ]
                if numbers:
                    self._plant(
                        stack,
                        component,
                        layer,
                        tiles,
                        at=numbers,
                        slots=packing.first,
                        positions=packing.rows,
                    )
            return self._block(layer, hidden, pairs, packing)

    def _entries(
        self, layer: int, tiles: Sequence[Tile], packing: Packing
    ) -> Float[Tensor, "tile slot d_model"]:
        """The patched tiles as they leave the block of their first patched layer."""
        pairs = self._pairs(tiles)
        # What leaves a block of the unpatched run is what enters the next.
        hidden = self.recording.inputs[layer + 1]
        hidden = hidden[_beside(hidden, pairs)][:, _beside(hidden, packing.position)]
        entering = self._entry_values(layer, tiles, packing)
        hidden[:, _beside(hidden, packing.first)] = entering.to(hidden.device)
        return hidden

    def _entry_values(
        self, layer: int, tiles: Sequence[Tile], packing: Packing
    ) -> Float[Tensor, "tile row d_model"]:
        """What leaves the first patched block at each row's position."""
        pairs = self._pairs(tiles)
        units = [self.job.units[tile.unit] for tile in tiles]
        residual = [i for i, u in enumerate(units) if u.component == "resid_post"]
        inner = [i for i, u in enumerate(units) if u.component != "resid_post"]
        like = self.recording.inputs[layer]
        values = like.new_empty(len(tiles), len(packing.rows), like.shape[-1])
        if residual:
            source = self.runs.source["resid_post", layer]
            picked_pairs = _beside(source, pairs[residual])
            found = source[picked_pairs][:, _beside(source, packing.rows)]
            values[residual] = found.to(values)
        if inner:
            picked = [tiles[i] for i in inner]
            whole = self._pack([0])
            with ExitStack() as stack:
                for component in self.job.components:
                    numbers = [
                        n
                        for n, i in enumerate(inner)
                        if units[i].component == component
                    ]
                    if numbers:
                        self._plant(
                            stack,
                            component,
                            layer,
                            picked,
                            at=numbers,
                            slots=whole.position,
                            positions=whole.position,
                        )
                own = like[_beside(like, pairs[inner])]
                output = self._block(layer, own, pairs[inner], whole)
            values[inner] = output[:, _beside(output, packing.rows)].to(values)
        return values

    def _plant(
        self,
        stack: ExitStack,
        component: Component,
        layer: int,
        tiles: Sequence[Tile],
        *,
        at: Sequence[int],
        slots: Tensor,
        positions: Tensor,
    ) -> None:
        """Put the source's values of a component into some tiles of the next call."""
        source = self.runs.source[component, layer]
        number = torch.tensor(at, device=source.device)[:, None]
        pair = _beside(source, self._pairs(tiles)[list(at)][:, None])
        positions = _beside(source, positions)
        heads = [self.job.units[tiles[n].unit].head for n in at]

        def replace(value: Tensor) -> Tensor:
            value = value.clone()
            row, slot = _beside(value, number), _beside(value, slots)
            if heads[0] is None:
                value[row, slot] = source[pair, positions].to(value)
            else:
                head = torch.tensor(heads, device=source.device)[:, None]
                found = source[pair, positions, head].to(value)
                value[row, slot, _beside(value, head)] = found
            return value

        site = Site(layer=layer, component=component)
        for remove in plant(self.job.model.architecture.point(site), replace):
            stack.callback(remove)

    def _block(
        self, layer: int, hidden: Tensor, pairs: Tensor, packing: Packing
    ) -> Tensor:
        recording, n_tiles = self.recording, len(hidden)
        keys, values = [], []
        if self.prefix.length:
            shape = (n_tiles, -1, -1, -1)
            keys.append(self.prefix.keys[layer].expand(shape))
            values.append(self.prefix.values[layer].expand(shape))
        if packing.reach:
            own = _beside(recording.keys[layer], pairs)
            keys.append(recording.keys[layer][own][:, :, : packing.reach])
            values.append(recording.values[layer][own][:, :, : packing.reach])
        self.token_layers += hidden.shape[0] * hidden.shape[1]
        cache = frozen_cache(layer, keys, values)
        return recording.calls[layer].run(hidden, packing, cache)

    def _pairs(self, tiles: Sequence[Tile]) -> Tensor:
        return torch.tensor([tile.pair for tile in tiles], device=self._device)


def _beside(value: Tensor, index: Tensor) -> Tensor:
    """An index where a value is: layers may lie on several devices."""
    return index.to(value.device)
