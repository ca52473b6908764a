"""The two models of a study: a base model and one that was post-trained from it."""

from collections.abc import Callable

from interp.models.language_model import LanguageModel
from interp.models.loading import load
from probes.studies.kinds import StudySpec
from probes.studies.same_shape import require_same_shape


Tell = Callable[[str], None]
Pair = tuple[LanguageModel, LanguageModel]


def load_pair(
    spec: StudySpec, *, device: str, trust_remote_code: bool, tell: Tell
) -> Pair:
    """BASE and POST of a study, loaded and of one shape.

    Args:
        spec: Names them, their revisions and their dtype.
        device: Where they run.
        trust_remote_code: Whether code that comes with a model may run.
        tell: Is told of each model that is loaded.

    Raises:
        IncompatibleError: If the models differ in depth or width.
    """
    loaded: list[LanguageModel] = []
    for name, revision in (
        (spec.base, spec.base_revision),
        (spec.post, spec.post_revision),
    ):
        model = load(
            name,
            revision=revision,
            device=device,
            dtype=spec.dtype,
            trust_remote_code=trust_remote_code,
        )
        tell(f"loaded {model!r}")
        loaded.append(model)
    base, post = loaded
    require_same_shape(base, post)
    return base, post
