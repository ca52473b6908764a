"""Made-up patching maps and a knowledge result with the shape of real ones."""

import numpy as np
from sample_results import MODELS, provenance

from interp.results import KnowledgeComparison, PatchMap
from interp.results.knowledge import (
    COMPARED,
    Compared,
    InsideShare,
    MapLikeness,
    RuleCost,
    Run,
    ScreenCheck,
    Staircase,
    Step,
)
from interp.results.knowledge_pairs import PairTokens, ScreenedCell
from interp.results.map_comparison import MEASURES, Against, Equivalence, Likeness
from interp.results.truthfulness import ROLES


PAIR_ROLES = ("before[0]", "subject[0]", "between[0]", "object[0]", "last")
RUNS: tuple[Run, ...] = ("base", "post", "base into post", "post into base")
STEPS: dict[Step, float] = {"subject": 0.5, "object": 2.5, "last": 4.5}
AGAINST: tuple[Against, ...] = (
    "the two maps",
    "halves of a",
    "halves of b",
    "a half of a and the other of b",
    "b one layer up",
    "b one layer down",
    "a and itself one layer up",
    "b and itself one layer up",
    "columns of b permuted",
    "models exchanged",
)


def patched(seed: int = 0, n: int = 12) -> PatchMap:
    """A map whose effect moves from the subject over the object to the last token."""
    rng = np.random.default_rng(seed)
    clean, corrupted = rng.normal(4, 1, n), rng.normal(-4, 1, n)
    effect = _effect()[None] + rng.normal(0, 0.03, (n, 6, 5))
    ld = corrupted[:, None, None] + effect * (clean - corrupted)[:, None, None]
    return PatchMap(
        models=("a", "a"),
        direction="denoise",
        method="exact",
        units=("resid_post",),
        window=1,
        layers=np.arange(6, dtype=np.int32),
        ld=_f(ld[None]),
        clean_ld=_f(clean),
        corrupted_ld=_f(corrupted),
        roles=(PAIR_ROLES,) * n,
        groups=tuple(f"g{i // 2}" for i in range(n)),
        tokens=(("The", "x", " is", "y", ":"),) * n,
        token_layers=1,
        naive_token_layers=1,
        notes=(),
        provenance=provenance("patching"),
    )


def knowledge(seed: int = 0) -> KnowledgeComparison:
    """Two models that keep facts alike; tokens were kept of all pairs but the last."""
    rng = np.random.default_rng(seed)
    shape, n = (4, 1, 6, 5), 12
    maps = np.broadcast_to(_effect(), shape) + rng.normal(0, 0.02, shape)
    pair_ld = rng.normal(size=(4, 1, n, 6, 5))
    return KnowledgeComparison(
        models=MODELS,
        datasets=("cities.csv",),
        direction="denoise",
        window=1,
        read="LD = logit of ' TRUE' (token 1) - logit of ' FALSE' (token 2)",
        runs=RUNS,
        units=("resid_post",),
        layers=np.arange(6, dtype=np.int32),
        columns=("before 0", "subject last", "between 0", "object last", "last"),
        tokens=("", "", " is", "", ":"),
        knowledge=np.array([False, True, False, True, False]),
        ld=_f(8 * maps - 4),
        restoration=_f(maps),
        restoration_low=_f(maps - 0.05),
        restoration_high=_f(maps + 0.05),
        bins=_f(np.clip(maps, 0, 1)),
        inside=_f(np.clip(1 - np.abs(maps) / 10, 0, 1)),
        difference=_f(maps[1] - maps[0]),
        difference_low=_f(maps[1] - maps[0] - 0.03),
        difference_high=_f(maps[1] - maps[0] + 0.03),
        likeness=tuple(
            _likeness(compared, scale)
            for compared in COMPARED
            for scale in ("restoration", "bins")
            if scale != "bins" or compared == "base and post"
        ),
        staircase=_staircases(),
        shares=_shares(),
        screening=_screenings(),
        statements=60,
        dropped=_dropped(),
        sources=("cities.csv",) * n,
        true=tuple(f"Town{i} is in Land." for i in range(n)),
        false=tuple(f"Town{i} is in Land." for i in range(n, 2 * n)),
        groups=tuple(f"Town{i}" for i in range(n)),
        clean_ld=_f(np.abs(rng.normal(4, 1, (2, n)))),
        corrupted_ld=_f(-np.abs(rng.normal(4, 1, (2, n)))),
        pair_ld=_f(pair_ld),
        pair_tokens=tuple(_pair_tokens(i, i + n) for i in range(n - 1)),
        provenance=provenance("knowledge"),
    )


def _staircases() -> tuple[Staircase, ...]:
    return tuple(
        Staircase(
            model=role,
            unit="resid_post",
            step=step,
            layer=layer,
            low=layer - 0.2,
            high=layer + 0.2,
        )
        for role in ROLES
        for step, layer in STEPS.items()
    )


def _shares() -> tuple[InsideShare, ...]:
    return tuple(
        InsideShare(
            run=run,
            unit="resid_post",
            cells="knowledge",
            slack=slack,
            share=0.7 + 4 * slack,
            low=0.65 + 4 * slack,
            high=0.75 + 4 * slack,
        )
        for run in RUNS
        for slack in (0.0, 0.05)
    )


def _screenings() -> tuple[ScreenCheck, ...]:
    return tuple(
        ScreenCheck(
            model=role,
            unit="resid_post",
            pairs=8,
            pearson=0.9,
            spearman=0.8,
            cells=(
                ScreenedCell(layer=0, column="last", exact=0.5, estimate=0.4),
                ScreenedCell(layer=1, column="last", exact=0.8, estimate=0.9),
            ),
        )
        for role in ROLES
    )


def _dropped() -> tuple[RuleCost, ...]:
    return (
        RuleCost(
            source="cities.csv",
            rule="no partner left",
            statements=35,
            texts=("Alone is in Land.", "Lonely is in Land."),
        ),
        RuleCost(source="cities.csv", rule="no template fits", statements=1),
    )


def _pair_tokens(true: int, false: int) -> PairTokens:
    return PairTokens(
        clean=(" Town", f"{true}", " is", " Land", ":"),
        corrupted=(" Town", f"{false}", " is", " Land", ":"),
        columns=(-1, 1, 2, 3, 4),
        answers=((" TRUE", " FALSE"), (" yes", " no")),
    )


def _likeness(compared: Compared, scale: str) -> MapLikeness:
    values = {"pearson": 0.98, "largest difference": 0.08}
    return MapLikeness(
        compared=compared,
        unit="resid_post",
        scale=scale,
        rows=tuple(
            Likeness(
                measure=measure,
                against=against,
                value=values.get(measure, 0.05) - 0.02 * i,
                low=values.get(measure, 0.05) - 0.02 * i - 0.01,
                high=values.get(measure, 0.05) - 0.02 * i + 0.01,
                p=0.01,
            )
            for measure in MEASURES
            for i, against in enumerate(AGAINST)
        ),
        equivalence=(
            Equivalence(
                cells="all",
                delta=0.1,
                largest=0.08,
                within=0.09,
                p=0.01,
                level=0.05,
                shown=True,
            ),
        ),
    )


def _effect() -> np.ndarray:
    """Restoration [layer, role] of a made-up model of six layers."""
    effect = np.zeros((6, 5))
    effect[:2, 1] = 0.95
    effect[2:4, 3] = 0.9
    effect[4:, 4] = 1.0
    return effect


def _f(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
