"""The result of comparing where two models store and read the facts of statements."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int32

from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as
from interp.results.knowledge_pairs import PairTokens, ScreenedCell
from interp.results.map_comparison import Against, Equivalence, Likeness, Measure
from interp.results.patch_map import Direction
from interp.results.truthfulness import Role


Run = Literal["base", "post", "base into post", "post into base"]
Compared = Literal[
    "base and post", "base into post and post", "post into base and base"
]
Step = Literal["subject", "object", "last"]
# Which two runs each comparison is of.
COMPARED: dict[Compared, tuple[Run, Run]] = {
    "base and post": ("base", "post"),
    "base into post and post": ("base into post", "post"),
    "post into base and base": ("post into base", "base"),
}
SLACK = 0.05
# Of each file and rule so many statements without a partner are listed, the first ones.
MAX_LISTED = 256
# A model that is right about fewer pairs does not answer the question.
FEW_RIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCost:
    """How many statements of a file one rule of pairing cost, and which.

    Attributes:
        source: The file.
        rule: What the statements lacked.
        statements: How many.
        texts: The first `MAX_LISTED` of them; older files have none.
    """

    source: str
    rule: str
    statements: int
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLikeness:
    """How alike two maps are: see `interp.results.map_comparison`.

    Attributes:
        compared: Which two maps, the first called a and the second b.
        unit: The component that was patched.
        scale: What the maps were put on.
        rows: Each measure, of the maps and of floors and nulls.
        equivalence: Over all cells and over those of subject and object.
    """

    compared: Compared
    unit: str
    scale: str
    rows: tuple[Likeness, ...]
    equivalence: tuple[Equivalence, ...]

    def find(self, measure: Measure, against: Against = "the two maps") -> Likeness:
        """One measure against one thing."""
        return next(
            row
            for row in self.rows
            if row.measure == measure and row.against == against
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """Where along the layers one kind of token matters, in one model.

    Attributes:
        model: The model.
        unit: The component that was patched.
        step: The kind of token.
        layer: The mean layer, weighted by the effect of patching these tokens there.
        low: Lower bound of its interval.
        high: Upper bound.
    """

    model: Role
    unit: str
    step: Step
    layer: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideShare:
    """How often a patched logit difference stays between false and true.

    Attributes:
        run: Whose values were put into whose run.
        unit: The component that was patched.
        cells: All cells, or those of subject and object.
        slack: How far beyond the ends still counts, as a share of the pair's gap. A
            patch that changes nothing lands on an end, so without slack half of such
            cells count as outside by the least bit.
        share: The mean share of pairs over those cells.
        low: Lower bound of its interval.
        high: Upper bound.
    """

    run: Run
    unit: str
    cells: Literal["all", "knowledge"]
    slack: Number
    share: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenCheck:
    """How well attribution patching follows the exact map of a model.

    The correlations are over cells of single pairs, `cells` are means over them.
    """

    model: Role
    unit: str
    pairs: int
    pearson: Number
    spearman: Number
    cells: tuple[ScreenedCell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KnowledgeComparison:
    """Causal tracing of one set of statement pairs in a base and a post-trained model.

    The axis `run` is base, post and, if asked for, base's values put into post's run
    and the other way around. Restoration is 0 where the mean logit difference is that
    of the prompts with the false statement, 1 where it is that of the true ones, each
    in the model that runs. Bounds are 95 % cluster-bootstrap intervals.

    Attributes:
        models: Names of the base and the post-trained model.
        datasets: Where the statements come from.
        direction: `denoise` puts values of the true prompt into the run of the false
            one, `noise` the reverse.
        window: How many layers were patched at once.
        read: Which tokens were read, in words.
        runs: What ran, in words.
        units: The component of each map, as `"resid_post"`.
        layers: The layers, counted from 0.
        columns: What the positions are, in the order of the prompt.
        tokens: The token of each column where it is the same for all pairs, else empty.
        knowledge: Which columns are of the subject or the object.
        ld: Mean logit difference.
        restoration: The same between the means of false and true prompts.
        restoration_low: Lower bound.
        restoration_high: Upper bound.
        bins: The map on the scale of Du et al.
        inside: Share of pairs whose logit difference is between false and true, or
            beyond by at most `SLACK` of their gap.
        difference: Restoration of post minus that of base.
        difference_low: Lower bound.
        difference_high: Upper bound.
        likeness: How alike the maps are, with floors and nulls.
        staircase: Where along the layers each kind of token matters.
        shares: How often patched runs stay between false and true.
        screening: How well attribution patching does, if it was asked for.
        statements: How many statements there were.
        dropped: What each rule of pairing cost.
        sources: The file of each pair.
        true: The true statement of each pair.
        false: The false one.
        groups: What pairs that are not independent have in common.
        clean_ld: Of the true prompts, in base and post.
        corrupted_ld: Of the false prompts.
        pair_ld: Every patched cell of every pair by column; NaN where it has none.
        pair_tokens: The prompts of the first pairs token by token; older files have
            none.
        notes: What was left out, is weak or limits the conclusions, in sentences.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "knowledge"
    SCHEMA: ClassVar[int] = 1

    models: tuple[str, str]
    datasets: tuple[str, ...]
    direction: Direction
    window: int
    read: str
    runs: tuple[Run, ...]
    units: tuple[str, ...]
    layers: Int32[np.ndarray, " layer"]
    columns: tuple[str, ...]
    tokens: tuple[str, ...]
    knowledge: Bool[np.ndarray, " column"]
    ld: Float32[np.ndarray, "run unit layer column"]
    restoration: Float32[np.ndarray, "run unit layer column"]
    restoration_low: Float32[np.ndarray, "run unit layer column"]
    restoration_high: Float32[np.ndarray, "run unit layer column"]
    bins: Float32[np.ndarray, "run unit layer column"]
    inside: Float32[np.ndarray, "run unit layer column"]
    difference: Float32[np.ndarray, "unit layer column"]
    difference_low: Float32[np.ndarray, "unit layer column"]
    difference_high: Float32[np.ndarray, "unit layer column"]
    likeness: tuple[MapLikeness, ...]
    staircase: tuple[Staircase, ...]
    shares: tuple[InsideShare, ...]
    screening: tuple[ScreenCheck, ...]
    statements: int
    dropped: tuple[RuleCost, ...]
    sources: tuple[str, ...]
    true: tuple[str, ...]
    false: tuple[str, ...]
    groups: tuple[str, ...]
    clean_ld: Float32[np.ndarray, "two pair"]
    corrupted_ld: Float32[np.ndarray, "two pair"]
    pair_ld: Float32[np.ndarray, "run unit pair layer column"]
    pair_tokens: tuple[PairTokens, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Provenance

    def __repr__(self) -> str:
        return (
            f"KnowledgeComparison({self.models[0]!r}, {self.models[1]!r}, "
            f"{len(self.true)} pairs)"
        )

    @property
    def right(self) -> Bool[np.ndarray, "two pair"]:
        """Of which pairs base and post judge both statements rightly, unpatched."""
        return (self.clean_ld > 0) & (self.corrupted_ld < 0)

    def pair_restoration(
        self, run: Run, *, unit: int = 0
    ) -> Float32[np.ndarray, "pair layer column"]:
        """Where each pair's patched LD lies between its false and its true prompt's.

        NaN where a pair has no such column, or where its two prompts do not differ.
        """
        # What runs is named last: "base into post" runs post.
        model = int(run.endswith("post"))
        false, true = self.corrupted_ld[model], self.clean_ld[model]
        gap = np.where(true != false, true - false, np.nan)[:, None, None]
        cells = self.pair_ld[self.runs.index(run), unit]
        return ((cells - false[:, None, None]) / gap).astype(np.float32)

    def likeness_of(
        self, compared: Compared = "base and post", *, unit: str = "", scale: str = ""
    ) -> MapLikeness | None:
        """How alike two maps are; the first unit and scale by default."""
        return next(
            (
                one
                for one in self.likeness
                if one.compared == compared
                and (not unit or one.unit == unit)
                and (not scale or one.scale == scale)
            ),
            None,
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row per run, unit, layer and column."""
        shape = self.restoration.shape
        run, unit, layer, column = (axis.ravel() for axis in np.indices(shape))
        return pd.DataFrame(
            {
                "run": np.array(self.runs)[run],
                "unit": np.array(self.units)[unit],
                "layer": self.layers[layer],
                "role": np.array(self.columns)[column],
                "ld": self.ld.ravel(),
                "restoration": self.restoration.ravel(),
                "restoration_low": self.restoration_low.ravel(),
                "restoration_high": self.restoration_high.ravel(),
                "bins": self.bins.ravel(),
                "inside": self.inside.ravel(),
            }
        )

    def likeness_dataframe(self) -> pd.DataFrame:
        """One row per two maps, unit, scale, measure and thing it is held against."""
        return pd.DataFrame(
            [
                {"compared": one.compared, "unit": one.unit, "scale": one.scale}
                | asdict(row)
                for one in self.likeness
                for row in one.rows
            ]
        )

    def equivalence_dataframe(self) -> pd.DataFrame:
        """One row per two maps, unit and set of cells."""
        return pd.DataFrame(
            [
                {"compared": one.compared, "unit": one.unit, "scale": one.scale}
                | asdict(row)
                for one in self.likeness
                for row in one.equivalence
            ]
        )

    def pairs_dataframe(self) -> pd.DataFrame:
        """One row per pair, with the logit differences of the unpatched prompts."""
        return pd.DataFrame(
            {
                "source": self.sources,
                "group": self.groups,
                "true": self.true,
                "false": self.false,
                "base_ld_true": self.clean_ld[0],
                "base_ld_false": self.corrupted_ld[0],
                "post_ld_true": self.clean_ld[1],
                "post_ld_false": self.corrupted_ld[1],
            }
        )

    def dropped_dataframe(self) -> pd.DataFrame:
        """One row per file and rule of pairing that cost statements."""
        names = ["source", "rule", "statements"]
        rows = [(one.source, one.rule, one.statements) for one in self.dropped]
        return pd.DataFrame(rows, columns=names)

    def left_out_dataframe(self) -> pd.DataFrame:
        """One row per statement without a partner that is listed, with the rule."""
        rows = [
            (one.source, one.rule, text) for one in self.dropped for text in one.texts
        ]
        return pd.DataFrame(rows, columns=["source", "rule", "statement"])

    def headline(self) -> str:
        """What was found, in one sentence."""
        right = self.right.mean(axis=1)
        if right.min() < FEW_RIGHT:
            return (
                "The maps say little about facts: the base model is right about both "
                f"statements of {right[0]:.0%} of {len(self.true)} pairs, the "
                f"post-trained one of {right[1]:.0%}."
            )
        found = self.likeness_of()
        assert found is not None, "base and post are always compared"
        r, gap = found.find("pearson"), found.find("largest difference, knowledge")
        floor = max(
            found.find("largest difference, knowledge", side).value
            for side in ("halves of a", "halves of b")
        )
        shift = max(
            found.find("pearson", side).value
            for side in ("b one layer up", "b one layer down")
        )
        whole = next(row for row in found.equivalence if row.cells == "all")
        verdict = "shown" if whole.shown else "not shown"
        return (
            f"Over {len(self.true)} pairs the maps of the two models correlate with "
            f"{r.value:.2f} (held one layer apart: {shift:.2f}) and differ by at most "
            f"{gap.value:.2f} at tokens of subject and object (halves of one model's "
            f"pairs: {floor:.2f}); they are {verdict} to differ by less than "
            f"{whole.delta:g} everywhere."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "KnowledgeComparison":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = pd.DataFrame([asdict(row) for row in self.staircase])
        return table_html(frame, caption=self.headline())
