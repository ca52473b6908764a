"""What logistic probes are fitted to: made features, or activations of a model."""

from dataclasses import dataclass

import numpy as np


N, FOLDS = 1500, 5
Site = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison: data of some kind and shape, and what is fitted."""

    data: str
    layers: int
    d_model: int
    n: int
    path: bool

    @property
    def what(self) -> str:
        return "path" if self.path else "single"

    @property
    def name(self) -> str:
        return f"{self.what}, {self.data}, {self.layers} layers, d {self.d_model}"


def cases(quick: bool) -> list[Case]:
    """The shapes of the full run, or two layers of the smaller ones."""
    shapes = [(2, 768)] if quick else [(12, 768), (32, 768), (12, 4096), (32, 4096)]
    return [
        Case(data=data, layers=layers, d_model=d, n=N, path=path)
        for layers, d in shapes
        for path in (False, True)
        for data in ("independent", "transformer-like")
    ]


def independent(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent features with the class means 2 standard deviations apart."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(0).random(n) < 0.5
    unit = rng.normal(size=d)
    unit /= np.linalg.norm(unit)
    rows = rng.normal(size=(n, d)) + 2.0 * np.outer(labels - 0.5, unit)
    return rows.astype(np.float32), labels


def transformer_like(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Variances that fall as a power law, mixed, around a mean that is not zero."""
    rng = np.random.default_rng(seed)
    rows, labels = independent(n, d, seed)
    # Two Householder reflections mix all features as well as a full rotation would.
    mixed = rows * (5 * np.arange(1, d + 1) ** -0.7)
    for _ in range(2):
        mirror = rng.normal(size=d)
        mirror /= np.linalg.norm(mirror)
        mixed -= 2 * np.outer(mixed @ mirror, mirror)
    return (mixed + 0.5 * rng.normal(size=d)).astype(np.float32), labels


def captured(model: str, statements: str) -> list[Site]:
    """The last token of each statement at every layer of a model, and its label."""
    import interp
    from interp.data import statements as read_statements

    loaded = interp.load(model)
    given = read_statements(statements)
    labels = np.asarray(given.labels[:N], dtype=bool)
    acts = interp.capture(loaded, list(given.prompts[:N]), sites="resid_post.*")
    rows = acts["resid_post"].float().numpy()
    return [(np.ascontiguousarray(rows[:, at]), labels) for at in range(rows.shape[1])]


def made(case: Case) -> list[Site]:
    """The rows and labels of every layer of a case without a model."""
    make = independent if case.data == "independent" else transformer_like
    return [make(case.n, case.d_model, seed) for seed in range(case.layers)]
