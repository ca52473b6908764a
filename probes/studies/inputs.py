"""The data of a study, read and cut to size as its settings say."""

from dataclasses import replace

import numpy as np

from interp import data
from interp.data import Contrast, Instructions, Statements
from interp.data.statements import fingerprint
from interp.provenance import DatasetRecord
from probes.studies.confidence.texts import Texts
from probes.studies.knowledge.spec import KnowledgeSpec
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.truthfulness.spec import TruthfulnessSpec


def statements_of(spec: TruthfulnessSpec | KnowledgeSpec) -> Statements:
    """The statements of all files together, at most `limit` of them.

    Raises:
        DataError: If a file cannot be read.
    """
    parts = [
        data.statements(
            source,
            statement=spec.statement_column,
            label=spec.label_column,
            group=spec.group,
        )
        for source in spec.statements
    ]
    whole = data.join(parts)
    if spec.limit is None or len(whole) <= spec.limit:
        return whole
    # The true and the false statement about one thing stay or go together.
    rng = np.random.default_rng(spec.seed)
    groups = list(dict.fromkeys(whole.groups))
    rank = {groups[i]: n for n, i in enumerate(rng.permutation(len(groups)).tolist())}
    order = sorted(range(len(whole)), key=lambda row: rank[whole.groups[row]])
    return whole.take(sorted(order[: spec.limit]))


def contrast_for(spec: RefusalSpec) -> Contrast:
    """The instructions in three splits, at most `limit` of each class.

    Raises:
        DataError: If a file cannot be read, or there are too few instructions.
    """
    harmful, harmless = (
        _cut(data.instructions(list(sources)), spec)
        for sources in (spec.harmful, spec.harmless)
    )
    return data.contrast(
        harmful,
        harmless,
        n_train=spec.n_train,
        n_val=spec.n_val,
        n_test=spec.n_test,
        seed=spec.seed,
    )


def record_of(given: Statements | Contrast | Texts, names: str) -> DatasetRecord:
    """What goes into a provenance about the data.

    Args:
        given: The data.
        names: Where it comes from.
    """
    rows = len(given.to_dataframe()) if isinstance(given, Contrast) else len(given)
    return DatasetRecord(name=names, fingerprint=given.fingerprint, rows=rows)


def _cut(given: Instructions, spec: RefusalSpec) -> Instructions:
    if spec.limit is None or len(given) <= spec.limit:
        return given
    rng = np.random.default_rng(spec.seed)
    rows = sorted(rng.permutation(len(given))[: spec.limit].tolist())
    texts = tuple(given.texts[row] for row in rows)
    return replace(given, texts=texts, fingerprint=fingerprint(texts))
