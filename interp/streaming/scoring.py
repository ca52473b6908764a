"""`token_scores`: what readers say about every token of a prompt."""

from collections.abc import Sequence

import numpy as np

from interp.edits import Edit
from interp.models.language_model import LanguageModel
from interp.models.one_prompt import Prompt, prompt_ids, template_mask
from interp.models.words import token_words
from interp.results.streams import TokenScores
from interp.streaming.passes import Passes
from interp.streaming.readers import TokenReader


def token_scores(
    model: LanguageModel,
    prompt: Prompt,
    readers: Sequence[TokenReader],
    *,
    edits: Edit | Sequence[Edit] = (),
    chat: bool = False,
) -> TokenScores:
    """What each reader says at every token of a prompt, for a coloured token strip.

    The very first token, special tokens and those of the chat template are marked:
    their activations are so large that they would set the colours of all others.

    Args:
        model: The model.
        prompt: A text, or token ids.
        readers: See `reader_of`.
        edits: What is changed meanwhile; the prompt is all there is.
        chat: Whether the text is a user message to be put into the chat template.

    Raises:
        PromptError: If the prompt cannot be read.
        UnknownSiteError: If a reader's site does not exist.
        ShapeError: If a reader does not fit its site.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> reader = TokenReader(name="x", site="resid_post.1", weights=np.ones(32))
        >>> token_scores(model, "Paris is", [reader]).template.tolist()[:2]
        [True, False]
    """
    ids = prompt_ids(model, prompt, chat=chat)
    edits = tuple(edits) if isinstance(edits, Sequence) else (edits,)
    passes = Passes(model, prompt_length=len(ids), edits=edits, readers=readers)
    scores = passes.run(ids).scores
    return scores_of(
        model, ids, scores, readers, template_mask(model, prompt, chat=chat)
    )


def scores_of(
    model: LanguageModel,
    ids: tuple[int, ...],
    scores: np.ndarray,
    readers: Sequence[TokenReader],
    template: np.ndarray,
) -> TokenScores:
    """Scores with what tokens and readers are called."""
    return TokenScores(
        token_ids=ids,
        tokens=token_words(model.tokenizer, ids),
        readers=tuple(reader.name for reader in readers),
        units=tuple(reader.unit for reader in readers),
        scores=scores,
        first=np.arange(len(ids)) == 0,
        template=template,
    )
