"""The prompts of pairs token by token, for whoever looks at single pairs later."""

from collections.abc import Iterable

from interp.models.language_model import LanguageModel
from interp.models.words import token_words
from interp.patching import PromptPairs
from interp.patching.aggregate import Columns
from interp.results.knowledge_pairs import MAX_SHOWN_PAIRS, PairTokens


def pair_tokens(
    model: LanguageModel,
    prompts: tuple[PromptPairs, PromptPairs],
    columns: Columns,
    *,
    at_most: int = MAX_SHOWN_PAIRS,
) -> tuple[PairTokens, ...]:
    """The patched positions of the first pairs as texts, with what is read of them.

    Args:
        model: Its tokenizer turns token ids into texts.
        prompts: The pairs with what is read in base and in post.
        columns: Which column of the maps each position is in.
        at_most: How many pairs.
    """
    base, post = prompts
    chosen = range(min(len(base), at_most))
    used = {
        token
        for i in chosen
        for ids in (base.clean_ids[i], base.corrupted_ids[i])
        for token in ids
    }
    for one in prompts:
        used.update(one.positive, one.negative)
    # Each token is decoded once, however many prompts hold it.
    ordered = sorted(used)
    texts = dict(zip(ordered, token_words(model.tokenizer, ordered), strict=True))

    def words(ids: Iterable[int]) -> tuple[str, ...]:
        return tuple(texts[token] for token in ids)

    return tuple(
        PairTokens(
            clean=words(base.clean_ids[i][base.start[i] :]),
            corrupted=words(base.corrupted_ids[i][base.start[i] :]),
            columns=tuple(columns.index[i, : len(base.roles[i])].tolist()),
            answers=(
                (texts[base.positive[i]], texts[base.negative[i]]),
                (texts[post.positive[i]], texts[post.negative[i]]),
            ),
        )
        for i in chosen
    )
