"""Logistic probes of all layers on the device beside scikit-learn on the CPU."""

import statistics
import sys
import time
from importlib.util import find_spec

import numpy as np
import torch
from gpu_setting import Method, Row, Setting, seconds
from torch import Tensor

import probes


EXAMPLES, FOLDS, PENALTIES, FITS_OF_SKLEARN = 1500, 5, 10, 2
GOAL = 100.0


def probes_part(setting: Setting) -> list[Row]:
    """Single fits, and 5 folds x 10 penalties; some fits of scikit-learn, scaled."""
    if find_spec("sklearn") is None:
        print("scikit-learn is not installed: probes not measured", file=sys.stderr)
        return []
    n_layers, d_model = setting.model.n_layers, setting.model.d_model
    n = setting.scaled(EXAMPLES if d_model > 1000 else 200, least=100)
    rows, labels = transformer_like(n, n_layers, d_model, setting.device)
    one = _seconds_of_sklearn(rows, labels)
    folds = torch.arange(n, device=setting.device) % FOLDS
    held_in = (folds != torch.arange(FOLDS, device=setting.device)[:, None]).float()
    penalties = np.logspace(-4, 4, PENALTIES).tolist()

    def single() -> None:
        probes.fit_logistic(rows, labels)

    def path() -> None:
        probes.fit_logistic(rows, labels, weights=held_in, c=penalties)

    made = []
    for name, method, fits in (
        ("single fits of all layers", single, n_layers),
        (f"{FOLDS} folds x {PENALTIES} penalties", path, n_layers * FOLDS * PENALTIES),
    ):
        own = _several(method, setting)
        made.append(
            Row(
                part="probes",
                what=f"{name}, n {n}, d {d_model}, {n_layers} layers",
                beside=f"scikit-learn on the CPU ({FITS_OF_SKLEARN} fits, scaled)",
                rate=one * fits / statistics.median(own),
                rounds=len(own),
                goal=GOAL if setting.device.type == "cuda" else None,
            )
        )
    return made


def _seconds_of_sklearn(rows: Tensor, labels: Tensor) -> float:
    from sklearn.linear_model import LogisticRegression

    on_cpu = rows[:FITS_OF_SKLEARN].cpu().numpy().astype(np.float64)
    targets = labels.cpu().numpy()
    start = time.perf_counter()
    for layer in on_cpu:
        LogisticRegression(max_iter=10_000, tol=1e-6).fit(layer, targets)
    return (time.perf_counter() - start) / len(on_cpu)


def _several(method: Method, setting: Setting) -> list[float]:
    """The times of a method, as many as a third of the part's time allows."""
    start = time.perf_counter()
    method()
    found: list[float] = []
    while len(found) < setting.rounds:
        if found and time.perf_counter() - start + found[-1] > setting.seconds / 3:
            break
        found.append(seconds(method, setting.device))
    return found


def transformer_like(
    n: int, n_layers: int, d_model: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features with a spectrum that falls like that of activations, and labels."""
    draw = torch.Generator(device=device).manual_seed(0)
    scale = torch.arange(1, d_model + 1, device=device) ** -0.7
    rows = torch.randn(n_layers, n, d_model, device=device, generator=draw) * scale
    labels = torch.arange(n, device=device) % 2 == 1
    shift = torch.randn(n_layers, 1, d_model, device=device, generator=draw) * scale
    rows = rows + 0.3 * labels[:, None].float() * shift
    return rows, labels
