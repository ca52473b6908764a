"""What a probe sweep and a transfer matrix say; knows neither torch nor models."""

import pandas as pd

from interp.results import ProbeSweep, TransferMatrix
from probes.studies.values import Value, interval, number


def numbers(result: ProbeSweep) -> dict[str, Value]:
    """The numbers that a caller wants first."""
    best = result.best
    return {
        "best_site": result.best_site,
        "auroc": interval(
            float(result.auroc[best]),
            float(result.auroc_lo[best]),
            float(result.auroc_hi[best]),
        ),
        "nested_auroc": interval(
            result.nested_auroc, result.nested_auroc_lo, result.nested_auroc_hi
        ),
        "permutation_p_corrected": number(float(result.permutation_p_corrected[best])),
        "baselines": {row.name: number(row.auroc) for row in result.baselines},
    }


def probe_table(result: ProbeSweep) -> pd.DataFrame:
    """How well each place can be read."""
    return pd.DataFrame(
        [
            {
                "site": site,
                "position": result.positions[k],
                "AUROC": f"{result.auroc[k]:.2f} [{result.auroc_lo[k]:.2f}, "
                f"{result.auroc_hi[k]:.2f}]",
                "accuracy": float(result.accuracy[k]),
                "corrected p": float(result.permutation_p_corrected[k]),
            }
            for k, site in enumerate(result.sites)
        ]
    )


def transfer_numbers(result: TransferMatrix) -> dict[str, Value]:
    """The AUROC on each data set of a probe trained on all others."""
    best = result.best
    left_out = dict(zip(result.tests, result.left_out[:, best].tolist(), strict=True))
    return {
        "best_site": result.sites[best],
        "left_out": {name: number(value) for name, value in left_out.items()},
    }


def transfer_table(result: TransferMatrix) -> pd.DataFrame:
    """The AUROC of every pair of data sets at the best site, a row to train on."""
    values = result.auroc[:, :, result.best].astype(float)
    frame = pd.DataFrame(values, columns=list(result.tests))
    frame.insert(0, "trained on", list(result.trains))
    return frame
