"""Settings of the knowledge study."""

from dataclasses import dataclass
from typing import Literal

from interp.data.templates import template
from interp.errors import ConfigError
from probes.studies.ranges import require_at_least, require_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeSpec:
    """Settings of the study.

    Attributes:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        statements: Files or data sets of the hub with statements and labels.
        base_revision: Revision of a hub model.
        post_revision: Revision of a hub model.
        dtype: How the weights run.
        statement_column: The column of the statements.
        label_column: The column of their labels.
        group: The column of the things that statements are about; found by default.
        limit: At most so many statements are read, whole groups of them.
        templates: Where subject and object stand, as "{subject} is in {object}."; by
            the columns or the name of each file by default.
        form: Whether statements are paired by templates, are pairs already row by row
            (`free`), or whatever suits the name of the file.
        question: Whether the model is asked if a statement is true; without, statements
            are cut before their object and the model's own answers are read.
        reuse: Whether a false statement may be the partner of several true ones.
        cluster: What makes pairs dependent: the subject of the true one, or the object.
        n_pairs: At most so many pairs.
        sites: What is patched in every layer, as `resid_post` or `z`.
        direction: `denoise` puts values of the true prompt into the run of the false
            one, `noise` the reverse.
        window: How many layers are patched at once.
        columns: Whether each word of a template has its column in the maps, or each
            category of words.
        cross: Whether values of each model are put into the other one too.
        screen: Whether attribution patching is held against the exact maps.
        delta: The difference of restoration that would matter.
        resamples: Bootstrap samples of each interval.
        permutations: Draws of the noise floor and of each null.
        seed: Of the order of statements and of every draw.
    """

    base: str
    post: str
    statements: tuple[str, ...]
    base_revision: str | None = None
    post_revision: str | None = None
    dtype: str = "auto"
    statement_column: str = "statement"
    label_column: str = "label"
    group: str | None = None
    limit: int | None = None
    templates: tuple[str, ...] = ()
    form: Literal["auto", "template", "free"] = "auto"
    question: bool = True
    reuse: bool = False
    cluster: Literal["subject", "object"] = "subject"
    n_pairs: int = 128
    sites: tuple[str, ...] = ("resid_post",)
    direction: Literal["denoise", "noise"] = "denoise"
    window: int = 1
    columns: Literal["role", "category"] = "role"
    cross: bool = True
    screen: bool = False
    delta: float = 0.1
    resamples: int = 1000
    permutations: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(
            self, n_pairs=1, resamples=1, permutations=1, window=1, limit=1
        )
        require_seed(self.seed)
        # Read here, so that a wrong template is told before a model is loaded.
        for text in self.templates:
            template(text)
        if not self.delta > 0:
            raise ConfigError(
                f"delta is {self.delta}.",
                expected="A positive difference of restoration that would matter.",
            )
