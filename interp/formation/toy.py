"""Two models of formation that need no network, in closed form.

The three-factor model shows why a product of parts that must all be learned makes a
plateau, and why holding a part shortens it. The nested-logit model shows how attention
on labels, on the right label and on the item before come one after another.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.errors import ConfigError


FACTORS = ("a", "b", "c")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """Gradient descent on a product of three vectors, for many seeds at once.

    Attributes:
        loss: Half the mean squared error of the product.
        unaligned: 1 minus the squared cosine of each factor with its target.
        known_others: The loss if both other factors were right, up to their sign.
        blank: The loss of a product that is zero, which is where plateaus lie.
    """

    loss: Float[np.ndarray, "seed iteration"]
    unaligned: Float[np.ndarray, "seed iteration factor"]
    known_others: Float[np.ndarray, "seed iteration factor"]
    blank: Float[np.ndarray, " seed"]


def three_factors(
    *,
    seeds: int = 20,
    width: int = 20,
    iterations: int = 1000,
    rate: float = 1.0,
    held: Collection[str] = (),
    seed: int = 0,
) -> Factors:
    """Learn `a* b* c*` by gradient descent on three vectors, some held at their target.

    Args:
        seeds: Independent runs; targets and starts are normal.
        width: Length of each vector.
        iterations: Steps of gradient descent.
        rate: Its rate.
        held: The factors that are at their target from the start.
        seed: Draws targets and starts; the same whatever is held.

    Raises:
        ConfigError: If a factor is not one of a, b and c.

    Source:
        Singh et al. (2024), arXiv:2404.07129, section 5.

    Example:
        >>> free, easy = three_factors(), three_factors(held="bc")
        >>> bool(np.median(easy.loss[:, 60]) < np.median(free.loss[:, 60]))
        True
    """
    if unknown := {*held} - {*FACTORS}:
        raise ConfigError(f"There is no factor {min(unknown)!r}; there are a, b and c.")
    rng = np.random.default_rng(seed)
    target = rng.standard_normal((seeds, 3, width))
    found = rng.standard_normal((seeds, 3, width))
    free = np.array([name not in held for name in FACTORS])
    found = np.where(free[:, None], found, target)
    losses, unaligned, known = [], [], []
    target_size = np.square(target).sum(axis=-1)
    for _ in range(iterations + 1):
        size = np.square(found).sum(axis=-1)
        shared = (found * target).sum(axis=-1)
        losses.append(_factor_loss(target_size, size, shared, width))
        unaligned.append(1 - shared**2 / (size * target_size))
        others = np.stack([np.delete(target_size, i, 1).prod(1) for i in range(3)], 1)
        gap = np.minimum(
            np.square(found - target).sum(-1), np.square(found + target).sum(-1)
        )
        known.append(gap * others / (2 * width**3))
        pull = np.stack(
            [np.delete(shared, i, axis=1).prod(axis=1) for i in range(3)], 1
        )
        push = np.stack([np.delete(size, i, axis=1).prod(axis=1) for i in range(3)], 1)
        gradient = found * push[..., None] - target * pull[..., None]
        found = found - rate * free[:, None] * gradient / width**3
    return Factors(
        loss=np.stack(losses, axis=1),
        unaligned=np.stack(unaligned, axis=1),
        known_others=np.stack(known, axis=1),
        blank=target_size.prod(axis=1) / (2 * width**3),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NestedLogits:
    """Gradient flow of the three nested logits, for many settings at once.

    Attributes:
        time: Times, from 0.
        loss: Cross-entropy of the answer.
        to_item: Attention of a label to its item in the first layer (q1).
        to_label: Attention of the target to the right label in the second (q2).
        beta: The logit of the previous position.
        alpha: The logit of likeness.
        xi: How strongly the attended label is named.
    """

    time: Float[np.ndarray, " time"]
    loss: Float[np.ndarray, "setting time"]
    to_item: Float[np.ndarray, "setting time"]
    to_label: Float[np.ndarray, "setting time"]
    beta: Float[np.ndarray, "setting time"]
    alpha: Float[np.ndarray, "setting time"]
    xi: Float[np.ndarray, "setting time"]


def nested_logits(
    pairs: Float[np.ndarray, " setting"],
    labels: Float[np.ndarray, " setting"],
    *,
    start: float = 0.01,
    until: float = 600.0,
    dt: float = 0.2,
    every: int = 5,
) -> NestedLogits:
    """Follow the gradient of the nested-logit loss with N pairs and L labels.

    Args:
        pairs: N of each setting, at least 2.
        labels: L of each setting, at least N.
        start: All three logits at the start.
        until: Time at the end.
        dt: Step of Heun's method.
        every: Steps between two recorded points.

    Raises:
        ConfigError: If a setting has fewer than two pairs, or fewer labels than pairs.

    Source:
        The two-parameter model of Reddy (2023), arXiv:2312.03002, with a readout.

    Example:
        >>> flow = nested_logits(np.array([8.0]), np.array([32.0]), until=1)
        >>> bool(abs(flow.loss[0, 0] - np.log(32)) < 0.01)
        True
    """
    pairs = np.asarray(pairs, dtype=np.float64)
    labels = np.asarray(labels, dtype=np.float64)
    if (pairs < 2).any() or (labels < pairs).any():
        raise ConfigError("N is at least 2, and L at least N, in every setting.")
    logits = np.full((3, len(pairs)), start)
    kept, times = [], []
    for step in range(int(until / dt) + 1):
        if step % every == 0:
            kept.append(np.stack([*nested_loss(logits, pairs, labels)[:3], *logits]))
            times.append(step * dt)
        first = nested_gradient(logits, pairs, labels)
        second = nested_gradient(logits - dt * first, pairs, labels)
        logits = logits - dt * (first + second) / 2
    loss, to_item, to_label, beta, alpha, xi = np.moveaxis(np.array(kept), 0, -1)
    return NestedLogits(
        time=np.array(times),
        loss=loss,
        to_item=to_item,
        to_label=to_label,
        beta=beta,
        alpha=alpha,
        xi=xi,
    )


def nested_loss(
    logits: Float[np.ndarray, "3 setting"],
    pairs: Float[np.ndarray, " setting"],
    labels: Float[np.ndarray, " setting"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loss, and the attention to the item and to the right label.

    Args:
        logits: beta, alpha and xi.
        pairs: N.
        labels: L.
    """
    beta, alpha, xi = logits
    to_item = _sigmoid(beta - np.log(pairs))
    to_label = _sigmoid(alpha * to_item - np.log(pairs - 1))
    named, others, absent = _masses(xi, to_label, pairs, labels)
    loss = -xi * to_label + np.log(named + others + absent)
    return loss, to_item, to_label


def nested_gradient(
    logits: Float[np.ndarray, "3 setting"],
    pairs: Float[np.ndarray, " setting"],
    labels: Float[np.ndarray, " setting"],
) -> Float[np.ndarray, "3 setting"]:
    """The gradient of `nested_loss` by beta, alpha and xi.

    Args:
        logits: beta, alpha and xi.
        pairs: N.
        labels: L.
    """
    _, alpha, xi = logits
    _, q1, q2 = nested_loss(logits, pairs, labels)
    named, others, absent = _masses(xi, q2, pairs, labels)
    total = named + others + absent
    by_q2 = xi * (-1 + (named - others / (pairs - 1)) / total)
    by_xi = -q2 + (named * q2 + others * (1 - q2) / (pairs - 1)) / total
    inner = by_q2 * q2 * (1 - q2)
    return np.stack([inner * alpha * q1 * (1 - q1), inner * q1, by_xi])


def _masses(
    xi: np.ndarray, q2: np.ndarray, pairs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unnormalised mass of the right label, of the others shown, and of the rest."""
    others = (pairs - 1) * np.exp(xi * (1 - q2) / (pairs - 1))
    return np.exp(xi * q2), others, labels - pairs


def _factor_loss(
    target_size: np.ndarray, size: np.ndarray, shared: np.ndarray, width: int
) -> np.ndarray:
    products = target_size.prod(1) - 2 * shared.prod(1) + size.prod(1)
    return products / (2 * width**3)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
