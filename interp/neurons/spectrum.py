"""The head seen from the residual stream: its moments over the vocabulary.

Everything that is asked of a neuron's output vector `w` and the whole vocabulary is a
quadratic form of two matrices of d_model x d_model, so one pass over the head in chunks
is enough and nothing of the size neurons x vocabulary is ever made:

* variance over the vocabulary of `cos(w, U_v)`, from the second moments of unit rows;
* the part of `w` in the null space of `U`, and the length of `w U`, from `U U^T`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import ConfigError
from interp.models.norms import Norm
from interp.neurons.matrices import Matrix, chunks
from interp.progress import progress_bar


# Rows, their folded and their unit form, and two products are held at a time.
ARRAYS_AT_A_TIME = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadMoments:
    """Moments of the head's rows, with the final norm folded in, in float64.

    The rows are `U_v = gain * W_v`, without their mean over d_model where the norm
    centres, and without their mean over the vocabulary.

    Attributes:
        n: How many rows.
        mean: The mean over the vocabulary that was taken off.
        unit_sum: Sum of the rows divided by their lengths.
        unit_gram: Sum of the outer products of those.
        gram: Sum of the outer products of the rows: `U U^T`.
        target: Sum of the rows times what was asked for each token, or None.
        centres: Whether the final norm centres, which makes the constant vector a null
            direction by construction.
    """

    n: int
    mean: Float[Tensor, " d_model"]
    unit_sum: Float[Tensor, " d_model"]
    unit_gram: Float[Tensor, "d_model d_model"]
    gram: Float[Tensor, "d_model d_model"]
    target: Float[Tensor, " d_model"] | None
    centres: bool

    def cosine_variance(
        self, vectors: Float[Tensor, "neuron d_model"]
    ) -> Float[Tensor, " neuron"]:
        """Unbiased variance over the vocabulary of the cosine with each row."""
        unit = vectors.double() / _length(vectors)
        mean = unit @ self.unit_sum / self.n
        square = ((unit @ self.unit_gram) * unit).sum(-1) / self.n
        # Rounding may leave a variance of zero below it.
        return (square - mean.square()).clamp_min(0.0) * (self.n / (self.n - 1))

    def logit_lengths(
        self, vectors: Float[Tensor, "neuron d_model"]
    ) -> Float[Tensor, " neuron"]:
        """The length of what each vector adds to the logits, mean taken off."""
        vectors = vectors.double()
        square = ((vectors @ self.gram) * vectors).sum(-1)
        return square.clamp_min(0.0).sqrt()

    def spectrum(self, n_null: int) -> "NullSpace":
        """The null space of the head as the directions of smallest singular value.

        Args:
            n_null: How many of them.

        Raises:
            ConfigError: If there are not so many directions.
        """
        d_model = len(self.gram)
        usable = d_model - int(self.centres)
        if not 1 <= n_null < usable:
            raise ConfigError(
                f"{n_null} null directions were asked for.",
                expected=f"1 to {usable - 1} for a model of width {d_model}.",
            )
        gram = self.gram
        if self.centres:
            # Lifts the constant vector from singular value zero to the very top, from
            # where it is dropped: no other direction moves.
            gram = gram + (2 * gram.trace() + 1) / d_model
        values, vectors = torch.linalg.eigh(gram)
        values, vectors = values[:usable], vectors[:, :usable]
        return NullSpace(
            singular_values=values.clamp_min(0.0).sqrt().flip(0),
            basis=vectors[:, :n_null],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NullSpace:
    """The directions of the residual stream that hardly reach the logits.

    Attributes:
        singular_values: Of the head, largest first; without the zero of a centring
            norm.
        basis: Orthonormal columns.
    """

    singular_values: Float[Tensor, " direction"]
    basis: Float[Tensor, "d_model null"]

    def share(
        self, vectors: Float[Tensor, "neuron d_model"]
    ) -> Float[Tensor, " neuron"]:
        """The length of each vector inside the null space over its whole length."""
        inside = (vectors.double() @ self.basis).norm(dim=-1)
        return inside / _length(vectors)[:, 0]


def head_moments(
    head: Matrix,
    norm: Norm,
    *,
    target: Float[Tensor, " vocab"] | None = None,
    device: torch.device | None = None,
) -> HeadMoments:
    """The moments of a head over its vocabulary, in two passes over its rows.

    Args:
        head: Its rows, one for each token.
        norm: The final norm, which is folded in.
        target: A number for each token, of which the rows' weighted sum is wanted.
        device: Where to compute; where the norm is by default.

    Example:
        >>> from interp.neurons.matrices import HeldMatrix
        >>> one = torch.ones(2, dtype=torch.float64)
        >>> norm = Norm(gain=one, bias=0 * one, eps=0.0, centres=False)
        >>> head = HeldMatrix(weight=torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> head_moments(head, norm).gram.tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    device = norm.gain.device if device is None else device
    norm = norm.to(device)
    n, d_model = head.shape
    zeros = {"dtype": torch.float64, "device": device}
    mean, unit_sum = torch.zeros(d_model, **zeros), torch.zeros(d_model, **zeros)
    gram, unit_gram = (torch.zeros(d_model, d_model, **zeros) for _ in range(2))
    reached = None if target is None else torch.zeros(d_model, **zeros)
    with progress_bar("head", 2 * n, "tokens") as bar:
        for start, stop, rows in chunks(head, device=device, copies=ARRAYS_AT_A_TIME):
            mean += rows.sum(0) / n
            bar.advance(stop - start)
        mean = norm.folded(mean)
        for start, stop, rows in chunks(head, device=device, copies=ARRAYS_AT_A_TIME):
            rows = norm.folded(rows) - mean
            gram.addmm_(rows.T, rows)
            if reached is not None and target is not None:
                reached += target[start:stop].to(device).double() @ rows
            # A row that is nothing but the mean has no direction, and adds none.
            rows /= rows.norm(dim=-1, keepdim=True).clamp_min(torch.finfo().tiny)
            unit_sum += rows.sum(0)
            unit_gram.addmm_(rows.T, rows)
            bar.advance(stop - start)
    return HeadMoments(
        n=n,
        mean=mean,
        unit_sum=unit_sum,
        unit_gram=unit_gram,
        gram=gram,
        target=reached,
        centres=norm.centres,
    )


def _length(vectors: Tensor) -> Tensor:
    return vectors.double().norm(dim=-1, keepdim=True).clamp_min(torch.finfo().tiny)
