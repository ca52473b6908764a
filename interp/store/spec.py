"""What a store holds, said in full before the first value is computed. Knows no torch.

Two stores are the same capture exactly when their specs are equal; the hash of the spec
stands in every shard, so that no shard can slip from one store into another.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from interp.atomic import json_hash
from interp.errors import ConfigError, IncompatibleError, InterpError, StoreError
from interp.sites import Site, parse


SCHEMA = 1
DEFAULT_SHARD_BYTES = 64 << 20
# A crash loses at most one shard: for the smallest rows the bytes alone would not bound
# the work in it.
DEFAULT_SHARD_ROWS = 1024

Dtype = Literal["float32", "float16", "bfloat16"]
DTYPE_BYTES: dict[Dtype, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
Shape = tuple[int | Literal["pos"], ...]
Option = str | int | float | bool | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of a store: which rows it holds and how many positions each row has."""

    index: int
    rows: range
    n_positions: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """How the rows are cut into files.

    Attributes:
        n_examples: How many rows there are in all.
        rows_per_shard: Rows of every file but the last, which may be shorter.
        lengths: For each file the number of positions to which its rows are padded;
            empty if no site keeps several positions.
    """

    n_examples: int
    rows_per_shard: int
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.n_examples < 1 or self.rows_per_shard < 1:
            raise ConfigError(
                f"A store of {self.n_examples} rows, {self.rows_per_shard} a file.",
                expected="Both are at least 1.",
                remedy="Give at least one prompt.",
            )
        if self.lengths and len(self.lengths) != self.n_shards:
            raise ConfigError(
                f"{len(self.lengths)} lengths for {self.n_shards} shards.",
                expected="There is one length for each shard.",
            )

    @property
    def n_shards(self) -> int:
        return math.ceil(self.n_examples / self.rows_per_shard)

    def shard(self, index: int) -> Shard:
        first = index * self.rows_per_shard
        stop = min(first + self.rows_per_shard, self.n_examples)
        length = self.lengths[index] if self.lengths else None
        return Shard(index=index, rows=range(first, stop), n_positions=length)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec:
    """Everything on which the values of a capture depend.

    Attributes:
        model: The model as the user named it.
        revision: The commit of the model, or a hash of its weights.
        tokenizer: A hash of the tokenizer.
        sites: For each site (short name) the shape of one row; `"pos"` stands for the
            number of positions where a row has several of them.
        positions: Which positions are kept, as the user asked.
        dtype: The type of the stored values.
        data: A fingerprint of the prompts and of what else stands in the rows.
        plan: How the rows are cut into shards.
        options: Whatever else changes a value: a prefix, a chat template, the
            attention implementation.
        hash: A short name for all of the above.
    """

    model: str
    revision: str
    tokenizer: str
    sites: Mapping[str, Shape]
    positions: str
    dtype: Dtype
    data: str
    plan: ShardPlan
    options: Mapping[str, Option] = field(default_factory=dict)
    hash: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Dtype):
            raise ConfigError(
                f"A store cannot hold the dtype {self.dtype!r}.",
                expected=f"Known: {', '.join(get_args(Dtype))}.",
            )
        if not self.sites:
            raise ConfigError("The store has no site.", remedy="Name at least one.")
        # In the order of a forward pass and in the short spelling, so that equal specs
        # are equal bytes.
        parsed = sorted(map(parse, self.sites), key=lambda site: site.depth)
        given = {parse(name): shape for name, shape in self.sites.items()}
        sites = {site.short: _shape(site, given[site]) for site in parsed}
        object.__setattr__(self, "sites", sites)
        object.__setattr__(self, "options", dict(sorted(self.options.items())))
        ragged = any("pos" in shape for shape in sites.values())
        if ragged != bool(self.plan.lengths):
            raise ConfigError(
                "The shapes of the sites and the lengths of the shards do not fit.",
                expected="There are lengths exactly when a shape has 'pos'.",
                remedy="Make the plan with `plan_shards(..., n_tokens=...)`.",
            )
        object.__setattr__(self, "hash", json_hash(self.to_json(), length=32))

    def shape(self, site: str, shard: Shard) -> tuple[int, ...]:
        """The shape of one site in one shard, rows first."""
        return (len(shard.rows), *_sizes(self.sites[site], shard.n_positions))

    def shard_bytes(self, shard: Shard) -> int:
        """How many bytes of values one shard holds."""
        values = sum(math.prod(self.shape(site, shard)) for site in self.sites)
        return values * DTYPE_BYTES[self.dtype]

    def to_json(self) -> dict[str, object]:
        plan = {
            "n_examples": self.plan.n_examples,
            "rows_per_shard": self.plan.rows_per_shard,
            "lengths": list(self.plan.lengths),
        }
        return {
            "model": self.model,
            "revision": self.revision,
            "tokenizer": self.tokenizer,
            "sites": {name: list(shape) for name, shape in self.sites.items()},
            "positions": self.positions,
            "dtype": self.dtype,
            "data": self.data,
            "plan": plan,
            "options": dict(self.options),
        }


def plan_shards(
    sites: Mapping[str, Shape],
    *,
    dtype: Dtype,
    n_examples: int,
    n_tokens: Sequence[int] | None = None,
    rows_per_shard: int | None = None,
    shard_bytes: int = DEFAULT_SHARD_BYTES,
) -> ShardPlan:
    """How to cut the rows so that no shard is large and a crash loses little.

    Args:
        sites: The shape of one row at each site; see `StoreSpec`.
        dtype: The type of the stored values.
        n_examples: How many rows there are.
        n_tokens: For each row its number of kept positions; needed with `"pos"`.
        rows_per_shard: Rows of a shard; by default as many as fit in `shard_bytes`,
            but at most 1024.
        shard_bytes: The size to aim at.

    Raises:
        ConfigError: If a number is not positive or `n_tokens` does not fit.

    Example:
        >>> plan_shards({"embed": (8,)}, dtype="float32", n_examples=2000).n_shards
        2
    """
    ragged = any("pos" in shape for shape in sites.values())
    if ragged and (n_tokens is None or len(n_tokens) != n_examples):
        raise ConfigError(
            "Sites with several positions need the number of tokens of each row.",
            expected=f"There are {n_examples} rows.",
            remedy="Pass n_tokens with one number for each of them.",
        )
    tokens = n_tokens if ragged and n_tokens is not None else ()
    if rows_per_shard is None:
        longest = max(tokens, default=0)
        values = sum(math.prod(_sizes(shape, longest)) for shape in sites.values())
        row_bytes = max(1, values * DTYPE_BYTES[dtype])
        rows_per_shard = min(DEFAULT_SHARD_ROWS, max(1, shard_bytes // row_bytes))
    lengths = tuple(
        max(batch) for batch in _batched(tokens, max(1, rows_per_shard)) if batch
    )
    return ShardPlan(
        n_examples=n_examples, rows_per_shard=rows_per_shard, lengths=lengths
    )


def spec_from_json(value: object, *, where: str) -> StoreSpec:
    """Read a spec strictly: each field is there and has its type.

    Args:
        value: What `StoreSpec.to_json` gave.
        where: The file, for the message.

    Raises:
        StoreError: If it is not a spec.
    """
    try:
        return _spec(value)
    except (KeyError, TypeError, ValueError, InterpError) as error:
        raise StoreError(
            f"{where!r} does not describe a store: {_first_line(error)}",
            expected="It is written by `interp capture`.",
            remedy="Capture again into an empty folder.",
        ) from error


def require_same(found: StoreSpec, wanted: StoreSpec, *, where: str) -> None:
    """Refuse a store that was made from something else.

    Raises:
        IncompatibleError: With the first field that differs and both values.
    """
    there, here = _flat(found.to_json()), _flat(wanted.to_json())
    for name in [*here, *(set(there) - set(here))]:
        if there.get(name) != here.get(name):
            raise IncompatibleError(
                f"The store {where!r} has another {name}: "
                f"{_short(there.get(name))}, not {_short(here.get(name))}.",
                expected="One folder holds one capture.",
                remedy="Choose another folder, or delete that one.",
            )


def _flat(value: dict[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, entry in value.items():
        if name == "sites" and isinstance(entry, dict):
            flat["sites"] = list(entry)
            flat["shape of a site"] = entry
        elif isinstance(entry, dict):
            flat.update(entry)
        else:
            flat[name] = entry
    return flat


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:60] + " ... " + text[-15:]


def _first_line(error: Exception) -> str:
    if isinstance(error, KeyError) and not isinstance(error, InterpError):
        return f"the field {error} is missing."
    return (str(error).splitlines() or ["it is malformed."])[0]


def _shape(site: Site, shape: Shape) -> Shape:
    for size in shape:
        whole = isinstance(size, int) and not isinstance(size, bool) and size > 0
        if not whole and size != "pos":
            raise ConfigError(
                f"{size!r} in the shape of {site.short!r}.",
                expected="Sizes are positive whole numbers or 'pos'.",
            )
    return tuple(shape)


def _sizes(shape: Shape, n_positions: int | None) -> list[int]:
    return [(n_positions or 0) if size == "pos" else size for size in shape]


def _batched(values: Sequence[int], size: int) -> list[Sequence[int]]:
    starts = range(0, len(values), size)
    return [values[start : start + size] for start in starts]


def _spec(value: object) -> StoreSpec:
    fields = _typed(value, dict)
    plan, sites = _typed(fields["plan"], dict), _typed(fields["sites"], dict)
    texts = {
        name: _typed(fields[name], str)
        for name in ("model", "revision", "tokenizer", "positions", "data")
    }
    lengths = [_typed(length, int) for length in _typed(plan["lengths"], list)]
    return StoreSpec(
        **texts,
        sites={name: tuple(_typed(shape, list)) for name, shape in sites.items()},
        dtype=_typed(fields["dtype"], str),  # pyright: ignore[reportArgumentType]
        plan=ShardPlan(
            n_examples=_typed(plan["n_examples"], int),
            rows_per_shard=_typed(plan["rows_per_shard"], int),
            lengths=tuple(lengths),
        ),
        options=_typed(fields["options"], dict),
    )


def _typed(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{_short(value)} is not a {kind.__name__}.")
    return value
