"""A token of interest, from its text or its number."""

from interp.errors import PromptError
from interp.models.language_model import LanguageModel
from interp.models.tokens import quote
from interp.models.words import token_words


def token_id(model: LanguageModel, token: str | int) -> int:
    """The id of a token given as text or as a number.

    Args:
        model: The model.
        token: A text that is exactly one token, with its white space: `" Paris"` and
            `"Paris"` are different ones.

    Raises:
        PromptError: If the text is not one token, or the number not in the vocabulary.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> model.tokenizer.decode([token_id(model, " Paris")])
        ' Paris'
    """
    if not isinstance(token, str):
        if not 0 <= token < model.d_vocab:
            raise PromptError(
                f"There is no token {token}.",
                expected=f"The model's vocabulary is 0 to {model.d_vocab - 1}.",
            )
        return int(token)
    if model.tokenizer is None:
        raise PromptError(
            f"The model has no tokenizer, so it does not know {quote(token)}.",
            remedy="Give the token's id.",
        )
    ids = model.tokenizer(token, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        pieces = ", ".join(map(repr, token_words(model.tokenizer, ids)))
        raise PromptError(
            f"{quote(token)} is {len(ids)} tokens: {pieces or 'none'}.",
            expected="One token, written with the space in front of it if it has one.",
            remedy="Take its first piece, or another word.",
        )
    return int(ids[0])
