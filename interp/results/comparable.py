"""Whether two results may be compared, and if not, which field differs.

`interp.provenance.differences` names the fields; here they get both values, and the
hash of the settings is taken apart where the settings themselves are known.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from interp import provenance as origin
from interp.provenance import DatasetRecord, Provenance


Settings = Mapping[str, object]
# Settings that name the models, which is what is compared, or that the origin records
# more exactly: what data held, how weights ran, the seed.
TOLD_ELSEWHERE = {
    *("base", "post", "base_revision", "post_revision", "model", "revision", "series"),
    *("statements", "harmful", "harmless", "texts", "dtype", "seed"),
    # How many prompts run at once changes no number that is reported.
    "batch_size",
}
NOT_WRITTEN = "(not written)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field in which two results differ.

    Attributes:
        field: Its name, as `"seed"` or `"settings.resamples"`.
        first: Its value in the first result, in words.
        second: Its value in the second.
    """

    field: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.field}: {self.first} against {self.second}"


def differences(
    first: Provenance,
    second: Provenance,
    *,
    settings: tuple[Settings | None, Settings | None] = (None, None),
) -> tuple[Difference, ...]:
    """Why two results must not be compared; nothing if they may be.

    Which model was used is no reason: comparing models is what results are for. Neither
    are time, device, versions and commit, which `circumstances` names.

    Args:
        first: Where one result comes from.
        second: Where the other comes from.
        settings: The settings of both runs, as `spec.toml` has them, or None where they
            are not known: then only their hashes can be compared.

    Example:
        >>> old = Provenance(study="refusal", seed=0)
        >>> print(*differences(old, Provenance(study="refusal", seed=1)))
        seed: 0 against 1
    """
    found: list[Difference] = []
    for name in origin.differences(first, second):
        if name == "spec_hash":
            found += _settings(first, second, settings)
        else:
            values = (_value(name, one) for one in (first, second))
            found.append(_difference(name, *values))
    return tuple(found)


def circumstances(first: Provenance, second: Provenance) -> tuple[Difference, ...]:
    """What else differs: no reason not to compare, but worth knowing.

    Args:
        first: Where one result comes from.
        second: Where the other comes from.

    Example:
        >>> old = Provenance(study="refusal", git_commit="a")
        >>> print(*circumstances(old, Provenance(study="refusal", git_commit="b")))
        code: a against b
    """
    pairs = [
        ("code", first.git_commit, second.git_commit),
        *(
            (f"version of {name}", one, dict(second.versions).get(name, ""))
            for name, one in first.versions
        ),
    ]
    models = zip(first.models, second.models, strict=False)
    for number, (one, other) in enumerate(models, start=1):
        pairs += [
            (f"model {number}", one.name, other.name),
            (f"weights of model {number}", one.weights_hash, other.weights_hash),
            (f"device of model {number}", one.device, other.device),
            (f"attention of model {number}", one.attention, other.attention),
        ]
    return tuple(_difference(name, a, b) for name, a, b in pairs if a != b)


def _settings(
    first: Provenance,
    second: Provenance,
    settings: tuple[Settings | None, Settings | None],
) -> list[Difference]:
    """The settings that differ; the hashes also hold which models and data ran."""
    one, other = settings
    if one is None or other is None:
        return [_difference("settings (hash)", first.spec_hash, second.spec_hash)]
    flat = [_flat(one), _flat(other)]
    return [
        _difference(f"settings.{name}", *(each.get(name, NOT_WRITTEN) for each in flat))
        for name in sorted({*flat[0], *flat[1]})
        if name.split(".")[0] not in TOLD_ELSEWHERE
        and flat[0].get(name) != flat[1].get(name)
    ]


def _flat(settings: Settings, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = json.dumps(value, ensure_ascii=False, default=str)
    return found


def _value(name: str, provenance: Provenance) -> str:
    """The value of a field that `interp.provenance.differences` names."""
    match name:
        case "datasets":
            return "; ".join(_data(one) for one in provenance.datasets)
        case "models":
            return f"{len(provenance.models)} models"
        case "study" | "seed":
            return str(getattr(provenance, name))
    number, field = name.removeprefix("models[").split("].")
    return str(getattr(provenance.models[int(number)], field))


def _data(record: DatasetRecord) -> str:
    return f"{record.name} ({record.rows} rows, {record.fingerprint[:12]})"


def _difference(field: str, first: str, second: str) -> Difference:
    return Difference(
        field=field, first=first or "(unknown)", second=second or "(unknown)"
    )
