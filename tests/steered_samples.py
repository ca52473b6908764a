"""A made-up unchanged and steered text with the shape of a real one."""

import numpy as np
from sample_results import provenance

from interp.results import SteeredText, SteeringAsked, steered_text
from interp.results.streams import SideBySide, TokenScores, WrittenText


READERS = ("refusal · resid_pre.2", "logistic · probe at resid_post.3")
UNITS = ("class gaps from the midpoint", "probe logit")


def written(tokens: tuple[str, ...], rng: np.random.Generator) -> WrittenText:
    return WrittenText(
        token_ids=tuple(sum(token.encode()) for token in tokens),
        tokens=tokens,
        text="".join(tokens),
        log_probability=-rng.random(len(tokens), dtype=np.float32),
        scores=rng.normal(size=(2, len(tokens))).astype(np.float32),
    )


def sides(*, word: str = "a", seed: int = 0) -> SideBySide:
    """Two texts that part at their second token; `word` is in all of them."""
    rng = np.random.default_rng(seed)
    tokens = ("<user>", word, " how", "<end>")
    steered = written(("I", " cannot", word), rng)
    return SideBySide(
        model="owner/post",
        prompt=TokenScores(
            token_ids=(5, 6, 7, 8),
            tokens=tokens,
            readers=READERS,
            units=UNITS,
            scores=rng.normal(size=(2, 4)).astype(np.float32),
            first=np.arange(4) == 0,
            template=np.array([True, False, False, True]),
        ),
        unchanged=written(("I", " can", word, "."), rng),
        steered=steered,
        kl=rng.random(3, dtype=np.float32),
        unchanged_log_probability=-rng.random(3, dtype=np.float32),
    )


def steered(*, word: str = "a", seed: int = 0) -> SteeredText:
    """A saved text of the Lab."""
    asked = SteeringAsked(
        prompt=f"{word} how",
        chat=True,
        direction=READERS[0],
        operation="add",
        strength=-1.5,
        layers="own",
        when="both",
        max_new_tokens=32,
        temperature=0.0,
        seed=seed,
    )
    found = sides(word=word, seed=seed)
    return steered_text(found, asked, provenance=provenance("lab"), link="0" * 32)
