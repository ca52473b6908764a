"""`Probe`: a linear probe as a value, with where it reads and what it was fitted to."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from interp.directions.direction import Direction, check_vector, source_of
from interp.directions.written import write
from interp.errors import DataError, ShapeError
from interp.provenance import ModelRecord
from interp.sites import parse


PROBE_RULE = "label 1 rather than label 0"
_NUMBERS = (
    *("intercept", "threshold", "negative_mean", "positive_mean"),
    *("validation_auroc", "test_auroc"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A linear probe of one site: `weights @ value + intercept` is its logit.

    Weights and intercept are in the coordinates of the activations: what a fit took out
    or divided by is contained in them. The logit is calibrated by the fit, so its
    sigmoid is a probability; above `threshold` the probe says positive.

    Attributes:
        weights: In the precision of the fit, float32 or float64.
        intercept: What is added to the product.
        threshold: The logit above which the probe says positive.
        kind: What was fitted, as `"logistic"`.
        rule: In words what a positive logit says.
        site: The site in the short spelling; empty if unknown.
        position: The token position, as it was asked for.
        negative_mean: Mean logit of the training examples with label 0.
        positive_mean: Mean logit of the training examples with label 1.
        n_negative: Training examples with label 0.
        n_positive: Training examples with label 1.
        data: The name of the training data.
        fingerprint: The hash of the training data.
        validation_auroc: Of examples by which the layer was chosen.
        test_auroc: Of examples that neither fit nor choice has seen.
        converged: Whether the fit reached its optimum; closed forms always do.
        model: The name of the model.
        weights_hash: What identifies its weights: a commit or a hash.
        revision: The commit of the hub that the model was loaded at.
        template: The hash of the model's chat template, empty if there is none.

    Example:
        >>> probe = Probe(weights=np.array([2.0, 0.0]), intercept=-1.0)
        >>> probe.logits(np.array([[1.0, 5.0], [0.0, 5.0]])).tolist()
        [1.0, -1.0]
        >>> probe.says_positive(np.array([[1.0, 5.0], [0.0, 5.0]])).tolist()
        [True, False]
    """

    weights: Float[np.ndarray, " d_model"]
    intercept: float = 0.0
    threshold: float = 0.0
    kind: str = ""
    rule: str = PROBE_RULE
    site: str = ""
    position: str = ""
    negative_mean: float | None = None
    positive_mean: float | None = None
    n_negative: int = 0
    n_positive: int = 0
    data: str = ""
    fingerprint: str = ""
    validation_auroc: float | None = None
    test_auroc: float | None = None
    converged: bool = True
    model: str = ""
    weights_hash: str = ""
    revision: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        held = np.asarray(self.weights)
        precision = np.float64 if held.dtype == np.float64 else np.float32
        weights = np.array(held, dtype=precision)
        check_vector(weights, self.site)
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise DataError(
                    f"A probe was given with {name} {value}.",
                    expected="A finite number.",
                )
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)
        if self.site:
            object.__setattr__(self, "site", parse(self.site).short)

    @property
    def layer(self) -> int | None:
        """The layer of the site; None where there is no site, or one without layers.

        Example:
            >>> Probe(weights=np.ones(2), site="blocks.3.hook_resid_post").layer
            3
        """
        return parse(self.site).layer if self.site else None

    @property
    def unit(self) -> Float[np.ndarray, " d_model"]:
        """The weights at length 1; zeros for a probe that reads nothing."""
        exact = self.weights.astype(np.float64)
        return (exact / max(float(np.linalg.norm(exact)), 1e-300)).astype(np.float32)

    def logits(
        self, rows: Float[np.ndarray, "*batch d_model"]
    ) -> Float[np.ndarray, "*batch"]:
        """How positive each row looks, in the precision of the probe.

        Raises:
            ShapeError: If the rows have another number of dimensions.
        """
        if rows.shape[-1] != len(self.weights):
            raise ShapeError(
                f"Rows of {rows.shape[-1]} dimensions were given to a probe"
                f" of {len(self.weights)}.",
                expected="Activations of the site that the probe was fitted at.",
            )
        dtype = self.weights.dtype
        return rows.astype(dtype) @ self.weights + dtype.type(self.intercept)

    def probabilities(
        self, rows: Float[np.ndarray, "*batch d_model"]
    ) -> Float[np.ndarray, "*batch"]:
        """The sigmoid of `logits`."""
        return np.exp(-np.logaddexp(0, -self.logits(rows)))

    def says_positive(self, rows: Float[np.ndarray, "*batch d_model"]) -> np.ndarray:
        """Whether the logit of each row is above the threshold."""
        return self.logits(rows) > self.threshold

    @property
    def direction(self) -> Direction:
        """The direction along the weights, with the class means as projections on it.

        Without known class means its scale is 1, which is no distance of classes.

        Raises:
            DataError: If all weights are 0.

        Example:
            >>> up = Probe(weights=np.array([0.0, 2.0]), intercept=-2.0,
            ...            negative_mean=-2.0, positive_mean=4.0).direction
            >>> up.scale, up.negative_mean, up.positive_mean
            (3.0, 0.0, 3.0)
        """
        norm = Direction.from_vector(self.weights).scale
        low, high = (
            None if logit is None else (logit - self.intercept) / norm
            for logit in (self.negative_mean, self.positive_mean)
        )
        return Direction(
            unit=self.unit,
            scale=1.0 if low is None or high is None else high - low,
            site=self.site,
            position=self.position,
            rule=self.rule,
            negative_mean=low,
            positive_mean=high,
            n_negative=self.n_negative,
            n_positive=self.n_positive,
            model=self.model,
            weights=self.weights_hash,
            revision=self.revision,
            template=self.template,
        )

    def of_model(self, record: ModelRecord) -> "Probe":
        """The same probe, with the model that a record tells."""
        known = source_of(record)
        return replace(self, weights_hash=known.pop("weights"), **known)

    def save(self, path: str | Path) -> Path:
        """Write the probe as one file; `load_probe` reads it back bit for bit.

        Args:
            path: The file; `.safetensors` by convention.

        Raises:
            DiskFullError: If the disk is full.
            UnwritableError: If the file cannot be written.
        """
        path = Path(path)
        write(asdict(self), path, word="probe")
        return path

    def __repr__(self) -> str:
        at = f" at {self.site}" if self.site else ""
        place = f", {self.position}" if self.position else ""
        kind = f"{self.kind}, " if self.kind else ""
        return f"Probe({kind}{len(self.weights)} dimensions{at}{place}: {self.rule})"
