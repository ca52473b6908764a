"""The texts on which confidence is measured."""

from dataclasses import dataclass

import numpy as np

from interp import data
from interp.data.statements import fingerprint
from interp.errors import DataError
from probes.studies.confidence.spec import ConfidenceSpec


# Fewer than this give no interval worth the name.
MIN_TEXTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Ordinary texts, each once.

    Attributes:
        texts: The texts.
        sources: Where they come from.
        fingerprint: Hash of the texts.
        notes: What was left out, in sentences.
    """

    texts: tuple[str, ...]
    sources: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)


def texts_of(spec: ConfidenceSpec) -> Texts:
    """The texts of all files together, at most `max_texts` of them.

    Where there are only statements the true ones are taken: how sure a model should be
    of what is false is another question.

    Raises:
        DataError: If a file cannot be read, or there are too few texts.
    """
    notes: list[str] = []
    if spec.texts:
        found = [
            text
            for source in spec.texts
            for text in data.prompts(source, column=spec.column).texts
        ]
        sources = spec.texts
    else:
        parts = [
            data.statements(
                source, statement=spec.statement_column, label=spec.label_column
            )
            for source in spec.statements
        ]
        found = [
            prompt
            for part in parts
            for prompt, label in zip(part.prompts, part.labels, strict=True)
            if label
        ]
        sources = spec.statements
        notes.append("No texts were given: the true statements stand for them.")
    texts = list(dict.fromkeys(found))
    if len(texts) < MIN_TEXTS:
        kind = "different texts" if spec.texts else "true statements"
        raise DataError(
            f"There are {len(texts)} {kind} in {', '.join(sources)}.",
            expected=f"The confidence study needs at least {MIN_TEXTS} for intervals.",
            remedy="Give more of them."
            if spec.texts
            else "Give more of them, or ordinary texts (--texts), or name the other "
            "studies (--studies truthfulness).",
        )
    if len(texts) > spec.max_texts:
        rng = np.random.default_rng(spec.seed)
        rows = sorted(rng.permutation(len(texts))[: spec.max_texts].tolist())
        notes.append(f"{spec.max_texts} of {len(texts)} texts were drawn at random.")
        texts = [texts[row] for row in rows]
    return Texts(
        texts=tuple(texts),
        sources=tuple(sources),
        fingerprint=fingerprint(tuple(texts)),
        notes=tuple(notes),
    )
