"""A trained family on disk: which folders it has, and what was measured on it."""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from safetensors.torch import save
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from interp import atomic
from interp.errors import DataError

from .checks import Check


FamilyName = Literal["facts", "induction"]
DESCRIPTION = "family.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A trained family: a folder of models in Hugging Face format, and its story.

    Args:
        folder: Holds `base`, `checkpoints/step-...`, and for facts `post`, the
            statement file and the instruction files.
        name: Which family it is.
        seed: The seed that was asked for.
        spec: Hash of all that decides the result.
        checks: What was measured at the end.
        notes: What did not go as planned: extensions, new seeds, facts left out.
    """

    folder: Path
    name: FamilyName
    seed: int
    spec: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def post(self) -> Path:
        """The fine-tuned model; only the facts family has one."""
        return self.folder / "post"

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        return tuple(sorted((self.folder / "checkpoints").iterdir()))

    @property
    def statements(self) -> Path:
        return self.folder / "statements.csv"

    @property
    def harmful(self) -> Path:
        return self.folder / "harmful.json"

    @property
    def harmless(self) -> Path:
        return self.folder / "harmless.json"


def write_description(family: Family, details: dict[str, object]) -> None:
    """Write `family.json`, the last file: without it the folder is no family."""
    record = {
        "schema": SCHEMA,
        "family": family.name,
        "seed": family.seed,
        "spec": family.spec,
        "checks": [{**asdict(c), "held": c.held} for c in family.checks],
        "notes": list(family.notes),
        **details,
    }
    atomic.write_json(family.folder / DESCRIPTION, record)


def read_family(folder: str | Path) -> Family:
    """The family in a folder that `train` wrote.

    Raises:
        DataError: If the folder does not hold a family.
    """
    folder = Path(folder)
    try:
        record = atomic.parse_json((folder / DESCRIPTION).read_bytes())
        checks = tuple(
            Check(**{key: value for key, value in check.items() if key != "held"})
            for check in record["checks"]
        )
        notes = tuple(record["notes"])
        whole = isinstance(record["seed"], int) and isinstance(record["spec"], str)
        if not whole or not all(isinstance(note, str) for note in notes):
            raise TypeError("a field has another type")
        return Family(
            folder=folder,
            name=record["family"],
            seed=record["seed"],
            spec=record["spec"],
            checks=checks,
            notes=notes,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{folder} does not hold an embedded model family.",
            expected=f"A folder with {DESCRIPTION}, written by training.",
            remedy="Train it with `interp train organism --family facts --out DIR`.",
        ) from None


def save_model(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write one model with its tokenizer as an ordinary Hugging Face folder."""
    # `save_pretrained` writes the same files but draws a bar of its own for each model.
    folder.mkdir(parents=True)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    atomic.write_bytes(
        folder / "model.safetensors", save(weights, metadata={"format": "pt"})
    )
    model.config.architectures = [type(model).__name__]
    model.config.dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    model.config.save_pretrained(folder)
    assert model.generation_config is not None
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_checkpoint(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write a half-precision copy of a model that is still being trained."""
    save_model(copy.deepcopy(model).half(), tokenizer, folder)
