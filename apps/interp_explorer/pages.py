"""The pages of the explorer, and which kinds of results each shows."""

from dataclasses import dataclass
from pathlib import Path


VIEWS = Path(__file__).parent / "views"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """A page that shows the results of certain kinds.

    Attributes:
        name: Its path in the address and the name of its view.
        key: What the page's parameters in the address begin with.
        title: Its heading.
        icon: A symbol of the font that comes with Streamlit.
        kinds: Kinds of results.
        about: What one looks at, with the papers.
        command: What makes such a result.
    """

    name: str
    key: str
    title: str
    icon: str
    kinds: tuple[str, ...]
    about: str
    command: str

    @property
    def view(self) -> Path:
        """The file of the page."""
        return VIEWS / f"{self.name}.py"


STUDIES = (
    StudyPage(
        name="truthfulness",
        key="t",
        title="Truthfulness",
        icon=":material/balance:",
        kinds=("truthfulness", "sweep", "transfer"),
        about="Where true and false statements are linearly separable, whether the "
        "direction of the base model still works after post-training, and whether "
        "adding it changes what the model judges true (Marks & Tegmark 2023).",
        command="interp compare BASE POST --studies truthfulness --out DIR",
    ),
    StudyPage(
        name="refusal",
        key="r",
        title="Refusal",
        icon=":material/block:",
        kinds=("refusal",),
        about="Whether one direction makes a model refuse: what ablating it and adding "
        "it do to harmful and harmless instructions, and what else it changes "
        "(Arditi et al. 2024).",
        command="interp compare BASE POST --studies refusal --out DIR",
    ),
    StudyPage(
        name="knowledge",
        key="k",
        title="Knowledge",
        icon=":material/hub:",
        kinds=("knowledge", "patching"),
        about="Where a fact is read and moved: how much of the right answer comes back "
        "when one activation of a clean run is put into a corrupted one "
        "(Meng et al. 2022). LD, the logit difference, is the logit of the one answer "
        "minus that of the other.",
        command="interp compare BASE POST --studies knowledge --out DIR",
    ),
    StudyPage(
        name="confidence",
        key="c",
        title="Confidence",
        icon=":material/speed:",
        kinds=("confidence", "neurons"),
        about="Which neurons of the last layer set how sure a model is without saying "
        "what it says, and how well its probabilities fit how often it is right "
        "(Stolfo et al. 2024).",
        command="interp compare BASE POST --studies confidence --out DIR",
    ),
    StudyPage(
        name="induction",
        key="i",
        title="Induction",
        icon=":material/timeline:",
        kinds=("heads", "timeline", "head_ablation", "formation"),
        about="Which attention heads look for what followed a token before and copy "
        "it, and when in training they appear (Olsson et al. 2022).",
        command="interp track MODEL --out DIR",
    ),
)


TEXTS = StudyPage(
    name="texts",
    key="s",
    title="Saved texts",
    icon=":material/compare:",
    kinds=("steering",),
    about="What a model wrote unchanged and steered, as it was saved in the Lab: the "
    "tokens with their scores, and how far steering moved the prediction of each "
    "(Rimsky et al. 2024, Arditi et al. 2024). No model is needed to read it.",
    command="interp explore DIR --model ID",
)
PAGES = (*STUDIES, TEXTS)
STUDY = {page.name: page for page in STUDIES}


def page_of(kind: str) -> StudyPage | None:
    """The page that shows results of a kind, if one does."""
    return next((page for page in PAGES if kind in page.kinds), None)
