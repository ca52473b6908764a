"""The span of a few vectors: its basis, and the point with given projections."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.edits.alignment import Sites, site_words
from interp.errors import DataError, ShapeError


# Below this ratio of the smallest to the largest singular value of the unit vectors,
# rounding in float32 decides which directions are removed.
DEPENDENT = 1e-5


def units(vectors: Float[Tensor, "*row k d"], site: Sites) -> Float[Tensor, "*row k d"]:
    """The vectors in float64 with length 1.

    Raises:
        DataError: If a vector is zero.
    """
    # Not every accelerator knows float64, and this happens once.
    vectors = vectors.detach().to("cpu", torch.float64)
    norms = vectors.norm(dim=-1, keepdim=True)
    if not bool((norms > 0).all()):
        raise DataError(
            f"A vector for {site_words(site)} is zero, so it has no direction.",
            remedy="Leave it out.",
        )
    return vectors / norms


def orthonormal_basis(
    vectors: Float[Tensor, "*row k d"], site: Sites
) -> Float[Tensor, "*row k d"]:
    """An orthonormal basis of what the vectors span, in float64.

    Raises:
        DataError: If a vector is zero or lies in the span of the others.
    """
    _, singular, basis = torch.linalg.svd(units(vectors, site), full_matrices=False)
    n_vectors = vectors.shape[-2]
    is_full = singular.shape[-1] == n_vectors
    if not is_full or bool((singular[..., -1] < DEPENDENT * singular[..., 0]).any()):
        raise DataError(
            f"The {n_vectors} vectors for {site_words(site)} are linearly dependent.",
            expected="Each adds a direction to what the others span.",
            remedy="Leave out those that repeat others.",
        )
    return basis


def point_with_projections(
    vectors: Float[Tensor, "*row k d"], to: Float[Tensor, "..."], site: Sites
) -> Float[Tensor, "*row d"]:
    """The point of the span whose projection on each vector's unit is given.

    Args:
        vectors: Linearly independent vectors.
        to: The projections: one number for all, or one for each vector.
        site: For messages.

    Raises:
        ShapeError: If there are not as many numbers as vectors.
    """
    directions = units(vectors, site)
    wanted = directions.shape[:-1]
    to = to.detach().to("cpu", torch.float64)
    if to.dim() == 1 and wanted[1:] == (1,) and len(to) == wanted[0]:
        to = to[:, None]
    if to.dim() > 0 and to.shape != wanted:
        raise ShapeError(
            f"The projections to set at {site_words(site)} have the shape"
            f" {list(to.shape)}.",
            expected=f"One number, or {list(wanted)}.",
        )
    to = to.expand(wanted)
    return (torch.linalg.pinv(directions) @ to.unsqueeze(-1)).squeeze(-1)
