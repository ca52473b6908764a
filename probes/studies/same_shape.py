"""Whether the directions of two models can be compared."""

from interp.errors import IncompatibleError
from interp.models.language_model import LanguageModel


def require_same_shape(base: LanguageModel, post: LanguageModel) -> None:
    """Refuse models whose directions cannot be compared.

    Raises:
        IncompatibleError: If they differ in depth or width.
    """
    for name in ("n_layers", "d_model"):
        first, second = getattr(base, name), getattr(post, name)
        if first != second:
            raise IncompatibleError(
                f"{base.name!r} has {name} {first} and {post.name!r} has {second}.",
                expected="BASE and POST are one model before and after post-training.",
                remedy="Name two models of one family.",
            )
