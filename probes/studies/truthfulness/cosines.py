"""How alike two models' truth directions are, beside what means nothing."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from interp.data import Statements
from interp.directions import CosineTest, cosine_test
from interp.errors import InterpError
from interp.progress import progress_bar
from interp.results import TruthCosine
from probes.studies.truthfulness.spec import TruthfulnessSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineTable:
    """Cosines at every layer, and in sentences what is missing."""

    rows: tuple[TruthCosine, ...] = ()
    notes: tuple[str, ...] = ()


def cosine_table(
    base: Float[Tensor, "example layer d_model"],
    post: Float[Tensor, "example layer d_model"],
    statements: Statements,
    *,
    spec: TruthfulnessSpec,
) -> CosineTable:
    """The cosine of two models' differences of means at every layer, with its nulls.

    Args:
        base: Training activations of one model.
        post: Of the other one, of the same statements.
        statements: The training statements.
        spec: How many permutations.
    """
    if not spec.permutations:
        return CosineTable()
    rows: list[TruthCosine] = []
    n_layers = base.shape[1]
    try:
        with progress_bar("cosines", n_layers, "layers") as bar:
            for layer in range(n_layers):
                for whitened in (False, True):
                    found = cosine_test(
                        base[:, layer],
                        post[:, layer],
                        statements.labels,
                        groups=statements.groups,
                        whitening="ledoit-wolf" if whitened else None,
                        permutations=spec.permutations,
                        seed=spec.seed,
                    )
                    rows.append(_row(layer, found))
                bar.advance()
    except InterpError as error:
        note = f"The cosine could not be compared with shuffled labels: {error}"
        return CosineTable(notes=(note,))
    return CosineTable(rows=tuple(rows), notes=(MEANING,))


MEANING = (
    "Labels that are shuffled alike in both models give a high cosine wherever the two "
    "represent statements alike, so a cosine inside that band does not say that the "
    "truth directions differ; labels that are shuffled separately give the band of "
    "directions that have nothing to do with each other. How well a direction "
    "separates in the other model is the stronger evidence."
)


def _row(layer: int, found: CosineTest) -> TruthCosine:
    return TruthCosine(
        layer=layer,
        metric="whitened" if found.whitened else "plain",
        cosine=float(found.estimate),
        corrected=float(found.corrected),
        isotropic_high=float(found.isotropic.high),
        independent_low=float(found.independent.low),
        independent_high=float(found.independent.high),
        independent_p=float(found.independent.p),
        shared_low=float(found.shared.low),
        shared_high=float(found.shared.high),
        shared_p=float(found.shared.p),
        signal=float(found.signal),
        signal_p=float(found.signal_null.p),
        shrinkage=float(found.shrinkage),
    )
