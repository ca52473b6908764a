"""What a probe sweep says; knows neither torch nor models."""

import pandas as pd

from interp.results import ProbeSweep
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
