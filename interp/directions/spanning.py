"""Subspaces from directions, from differences of pairs, from the means of classes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.activations import Activations
from interp.directions.direction import Direction, source_of
from interp.directions.subspace import Subspace
from interp.errors import ConfigError, DataError, EmptyClassError, ShapeError
from interp.sites import parse


Rows = Activations | Float[Tensor, "..."] | Float[np.ndarray, "..."]
# Singular values below this part of the largest are rounding in float32.
DEPENDENT = 1e-6


def span(
    directions: Sequence[Direction | Float[np.ndarray, " d_model"]],
    *,
    names: Sequence[str] = (),
) -> Subspace:
    """The subspace that several directions span, whatever their lengths.

    Its rank is smaller than their number if some lie in the span of the others.

    Args:
        directions: Directions, or vectors.
        names: What they are; by default their rules.

    Raises:
        ShapeError: If they have different dimensions.
        DataError: If one is zero or not finite.
        ConfigError: If there is none, or not one name for each.

    Example:
        >>> plane = span([np.array([2.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0])])
        >>> plane.rank, np.abs(plane.basis[:, 2]).tolist()
        (2, [0.0, 0.0])
    """
    held = [
        one if isinstance(one, Direction) else Direction.from_vector(one)
        for one in directions
    ]
    if not held:
        raise ConfigError("No direction was given to span a subspace.")
    names = tuple(names) or tuple(one.rule for one in held)
    if len(names) != len(held):
        raise ConfigError(f"{len(names)} names were given for {len(held)} directions.")
    widths = {len(one.unit) for one in held}
    if len(widths) > 1:
        raise ShapeError(
            f"Directions of {sorted(widths)} dimensions were to span a subspace.",
            expected="Directions of one model.",
        )
    common = {
        name: getattr(held[0], name)
        for name in ("site", "position", "model", "weights", "revision", "template")
        if len({getattr(one, name) for one in held}) == 1
    }
    return _principal(
        np.stack([one.unit for one in held]).astype(np.float64),
        rank=None,
        rule=f"span of {len(held)} directions",
        names=names,
        n_examples=0,
        source=common,
    )


def principal_differences(
    positive: Rows,
    negative: Rows,
    *,
    rank: int = 1,
    centre: bool = False,
    site: str | None = None,
) -> Subspace:
    """The top principal components of the differences of paired examples.

    Args:
        positive: Activations `[example, d_model]` of the positive ones.
        negative: Of the negative ones, in the same order.
        rank: How many components.
        centre: Whether the mean difference is taken out first; if not, it is mostly the
            first component.
        site: Where they are from; which site, if several were captured.

    Raises:
        ShapeError: If the examples are not in pairs.
        DataError: If they are not finite, or all differences are zero.
        ConfigError: If there are not as many components.

    Source:
        Zou et al. (2023), arXiv:2310.01405 ("representation engineering").

    Example:
        >>> positive = np.array([[1.0, 0.0], [3.0, 0.1]])
        >>> principal_differences(positive, -positive).explained[0] > 0.99
        True
    """
    first, source = _rows(positive, site)
    second, _ = _rows(negative, site)
    if first.shape != second.shape:
        raise ShapeError(
            f"Examples of the shapes {list(first.shape)} and {list(second.shape)} are"
            " no pairs.",
            expected="As many positive as negative ones.",
        )
    apart = first - second
    if centre:
        apart = apart - apart.mean(0)
    return _principal(
        apart,
        rank=rank,
        rule="principal components of paired differences",
        names=(),
        n_examples=2 * len(apart),
        source=source,
    )


def class_means(
    activations: Rows,
    labels: Sequence[object] | np.ndarray,
    *,
    rank: int | None = None,
    site: str | None = None,
) -> Subspace:
    """The subspace in which the means of several classes differ.

    Args:
        activations: `[example, d_model]`.
        labels: The class of each example: numbers or words.
        rank: How many dimensions; by default all, one less than there are classes.
        site: Where they are from; which site, if several were captured.

    Raises:
        EmptyClassError: If there is one class only.
        ShapeError: If there are not as many labels as examples.
        DataError: If activations are not finite, or all means are equal.
        ConfigError: If there are not as many dimensions.

    Example:
        >>> rows = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
        >>> class_means(rows, ["a", "b", "c"]).names
        ('a', 'b', 'c')
    """
    rows, source = _rows(activations, site)
    held = np.asarray(labels)
    if held.shape != (len(rows),):
        raise ShapeError(
            f"The labels have the shape {list(held.shape)}.",
            expected=f"There are {len(rows)} examples, so [{len(rows)}].",
        )
    classes, codes, counts = np.unique(held, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise EmptyClassError(
            f"All {len(rows)} examples have one label.",
            expected="Two classes or more.",
        )
    means = np.stack([rows[codes == one].mean(0) for one in range(len(classes))])
    # Weighted by the root of the counts: the squares then are the spread of examples.
    between = (means - rows.mean(0)) * np.sqrt(counts / len(rows))[:, None]
    return _principal(
        between,
        rank=rank,
        rule=f"differences of {len(classes)} class means",
        names=tuple(map(str, classes.tolist())),
        n_examples=len(rows),
        source=source,
        typical=float(np.linalg.norm(rows, axis=1).mean()),
    )


def _principal(
    rows: Float[np.ndarray, "row d_model"],
    *,
    rank: int | None,
    rule: str,
    names: tuple[str, ...],
    n_examples: int,
    source: dict[str, str],
    typical: float = 0.0,
) -> Subspace:
    """The span of the rows, or its most important part."""
    _, singular, basis = np.linalg.svd(rows, full_matrices=False)
    there = int((singular > DEPENDENT * max(singular[0], typical)).sum())
    if not there:
        raise DataError(
            "There is no difference to make a subspace of.",
            remedy="Use another site or position.",
        )
    rank = there if rank is None else rank
    if not 1 <= rank <= there:
        raise ConfigError(
            f"A subspace of rank {rank} was asked for.",
            expected=f"There are {there} dimensions: 1 to {there}.",
        )
    total = float(np.square(singular).sum())
    return Subspace(
        basis=basis[:rank],
        singular=tuple(singular[:rank].tolist()),
        explained=tuple((np.square(singular[:rank]) / total).tolist()),
        names=names,
        rule=rule,
        n_examples=n_examples,
        **source,
    )


def _rows(
    given: Rows, site: str | None
) -> tuple[Float[np.ndarray, "example d_model"], dict[str, str]]:
    """Rows in float64, and where they are from."""
    source: dict[str, str] = {} if site is None else {"site": parse(site).short}
    if isinstance(given, Activations):
        if site is None and len(given.sites) != 1:
            raise ConfigError(
                f"{len(given.sites)} sites were captured, and none was named.",
                remedy="Write site='resid_post.12'.",
            )
        chosen = given.sites[0] if site is None else parse(site)
        source = {
            "site": chosen.short,
            "position": given.positions,
            **source_of(given.provenance),
        }
        given = given[chosen]
    if isinstance(given, Tensor):
        given = given.detach().cpu().double().numpy()
    rows = np.asarray(given, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ShapeError(
            f"The activations have the shape {list(rows.shape)}.",
            expected="[example, d_model]: one position of one site.",
        )
    n_bad = int((~np.isfinite(rows)).any(1).sum())
    if n_bad:
        raise DataError(
            f"{n_bad} of {len(rows)} examples have activations that are not finite.",
            remedy="Leave them out, or load the model with dtype='float32'.",
        )
    return rows, source
