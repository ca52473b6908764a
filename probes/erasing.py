"""What a probe still reads once a concept was erased from the activations."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.errors import DataError
from interp.results.sweep import Erasure
from probes.evaluate import aurocs
from probes.linear import Fit


Erase = Callable[[Tensor], Tensor]


def erasures(
    rows: Float[Tensor, "site example d_model"],
    labels: Bool[np.ndarray, " example"],
    folds: Int[np.ndarray, " example"],
    *,
    fit: Fit,
    first: int = 0,
) -> tuple[Erasure, ...]:
    """AUROC and accuracy of probes refitted after LEACE and after INLP.

    Inside each fold both are fitted to the training examples, applied to all, and the
    probe is fitted again. What stays above chance is information that the erased
    directions did not hold, or that training examples did not show.

    Args:
        rows: The activations.
        labels: Which examples are positive.
        folds: The fold of each example, counted from 0.
        fit: What is fitted.
        first: The number of the first probe in the result it will be part of.

    Source:
        Belrose et al. (2023), arXiv:2306.03819; Ravfogel et al. (2020),
        arXiv:2004.07667.
    """
    found = []
    for site, values in enumerate(rows):
        for method in ("leace", "inlp"):
            scores, ranks = np.empty(labels.size), []
            for fold in range(int(folds.max()) + 1):
                out = folds == fold
                erase, rank = _eraser(method, values[~out], labels[~out])
                scores[out] = _refitted(erase(values), labels, out, fit)
                ranks.append(rank)
            found.append(
                Erasure(
                    method=method,
                    probe=first + site,
                    dimensions=max(ranks),
                    auroc=float(aurocs(scores, labels)),
                    accuracy=float(((scores > 0) == labels).mean()),
                )
            )
    return tuple(found)


def _eraser(
    method: str, rows: Tensor, labels: Bool[np.ndarray, " example"]
) -> tuple[Erase, int]:
    """The erasure that training examples give, and how many dimensions it removes."""
    # Not at the top: capture comes with this package, and a sweep of arrays needs none.
    from interp.directions.erasure import fit_inlp, fit_leace

    rows = rows.double()
    try:
        found = (fit_leace if method == "leace" else fit_inlp)(rows, labels)
    except DataError:
        # Equal class means: there is nothing that a linear probe could read.
        return lambda values: values, 0
    return found.apply, found.rank


def _refitted(
    rows: Tensor, labels: Bool[np.ndarray, " example"], out: np.ndarray, fit: Fit
) -> Float[np.ndarray, " held"]:
    """Held-out logits of a probe fitted on the other examples."""
    kept = torch.from_numpy(~out)[None].float()
    probe = fit(rows.float()[None], torch.from_numpy(labels), weights=kept)
    return probe.logits(rows.float()[None]).detach().cpu().numpy()[0, 0, out]
