"""What a trace computes: its components, and groups of pairs that run together."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from interp.errors import ConfigError, PositionError, UnknownSiteError, closest
from interp.models.language_model import LanguageModel
from interp.patching.prompt_pairs import Ids, PromptPairs
from interp.results.patch_map import Direction


# What a component adds at one position reaches other positions only in later blocks.
# The wavefront rests on that, so keys, values and patterns are not among them.
Component = Literal["resid_post", "attn_out", "mlp_out", "z"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
PAIRS_PER_GROUP = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is patched in a layer: a component, or one head of it."""

    component: Component
    head: int | None = None

    @property
    def name(self) -> str:
        return self.component if self.head is None else f"z.h{self.head}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One trace, ready to run.

    Attributes:
        model: The model that runs.
        source: The model whose values are put in; the same one, as a rule.
        pairs: The prompts.
        units: What is patched.
        window: How many layers are patched at once.
        direction: Which prompt's values go into the other's run.
        token_budget: The most tokens of a batch.
    """

    model: LanguageModel
    source: LanguageModel
    pairs: PromptPairs
    units: tuple[Unit, ...]
    window: int
    direction: Direction
    token_budget: int

    @property
    def crosses(self) -> bool:
        """Whether the values come from another model."""
        return self.source.hf is not self.model.hf

    @property
    def base_ids(self) -> Ids:
        """The prompts that values are put into."""
        denoises = self.direction == "denoise"
        return self.pairs.corrupted_ids if denoises else self.pairs.clean_ids

    @property
    def other_ids(self) -> Ids:
        """The prompts that values are taken from."""
        denoises = self.direction == "denoise"
        return self.pairs.clean_ids if denoises else self.pairs.corrupted_ids

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(dict.fromkeys(unit.component for unit in self.units))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Pairs that run in one batch: one prefix, one length, the same positions.

    Attributes:
        pairs: Which pairs.
        prefix: The tokens before the grid.
        length: How many grid positions there are.
        wanted: The grid positions that were asked for.
        rows: Those of them that have to be computed.
    """

    pairs: tuple[int, ...]
    prefix: tuple[int, ...]
    length: int
    wanted: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def includes_last(self) -> bool:
        return bool(self.wanted) and self.wanted[-1] == self.length - 1


def units_of(model: LanguageModel, sites: Iterable[str]) -> tuple[Unit, ...]:
    """The units that site names stand for; `"z"` stands for every head.

    Raises:
        UnknownSiteError: If a name is none of those that can be traced.
        ConfigError: If there is no name at all.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> [unit.name for unit in units_of(model, ["mlp_out", "z.h2"])]
        ['mlp_out', 'z.h2']
    """
    sites = [sites] if isinstance(sites, str) else list(sites)
    units: list[Unit] = []
    for name in sites:
        head = re.fullmatch(r"z\.h(\d+)", name)
        if name == "z":
            units += [Unit(component="z", head=i) for i in range(model.n_heads)]
        elif name in COMPONENTS:
            units.append(Unit(component=name))
        elif head and int(head[1]) < model.n_heads:
            units.append(Unit(component="z", head=int(head[1])))
        else:
            known = [*COMPONENTS, *(f"z.h{i}" for i in range(model.n_heads))]
            raise UnknownSiteError(
                f"{name!r} cannot be traced.",
                expected=f"Sites: {', '.join(COMPONENTS)}, and heads as 'z.h0'; every"
                " layer of them is patched.",
                remedy=closest(name, known),
            )
    if not units:
        raise ConfigError(
            "No site was named.", expected=f"Some of {', '.join(COMPONENTS)}."
        )
    return tuple(dict.fromkeys(units))


def wanted_positions(
    pairs: PromptPairs, roles: Sequence[str] | None
) -> tuple[tuple[int, ...], ...]:
    """The grid positions of each pair that have one of the roles; all by default.

    Raises:
        PositionError: If no pair has a position of some role.

    Example:
        >>> pairs = PromptPairs(
        ...     clean_ids=((5, 6),), corrupted_ids=((9, 6),), positive=(1,),
        ...     negative=(2,), start=(0,), roles=(("subject", "last"),), groups=("",),
        ... )
        >>> wanted_positions(pairs, ["last"])
        ((1,),)
    """
    if roles is None:
        return tuple(tuple(range(length)) for length in pairs.lengths)
    asked = {roles} if isinstance(roles, str) else set(roles)
    known = {name for row in pairs.roles for name in row}
    if missing := sorted(asked - known):
        raise PositionError(
            f"No pair has a position with the role {missing[0]!r}.",
            expected=f"Roles: {', '.join(sorted(known))}.",
            remedy=closest(missing[0], known),
        )
    return tuple(
        tuple(i for i, name in enumerate(row) if name in asked) for row in pairs.roles
    )


def plan_groups(
    job: Job, wanted: Sequence[tuple[int, ...]], *, size: int = PAIRS_PER_GROUP
) -> tuple[Group, ...]:
    """The groups that together hold every pair once, those of one prefix in a row.

    Args:
        job: The trace.
        wanted: The grid positions of each pair that were asked for.
        size: The most pairs of a group.
    """
    by_key: dict[tuple, list[int]] = {}
    for i, positions in enumerate(wanted):
        start = job.pairs.start[i]
        # Before the first token that differs both runs of one model are the same.
        first = 0 if job.crosses else job.pairs.first_difference[i] - start
        rows = tuple(t for t in positions if t >= first)
        prefix = job.pairs.clean_ids[i][:start]
        key = (prefix, job.pairs.lengths[i], positions, rows)
        by_key.setdefault(key, []).append(i)
    groups = []
    for (prefix, length, positions, rows), members in sorted(by_key.items()):
        groups += [
            Group(
                pairs=tuple(members[at : at + size]),
                prefix=prefix,
                length=length,
                wanted=positions,
                rows=rows,
            )
            for at in range(0, len(members), size)
        ]
    return tuple(groups)
