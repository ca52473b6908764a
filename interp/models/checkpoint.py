"""The files of a checkpoint, inspected before any of them is used.

Only safetensors weights are read: pickled weights run code when opened, so they are
refused by name. Nothing here imports a file of the checkpoint.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from interp import atomic
from interp.errors import (
    ModelAccessError,
    ModelNotFoundError,
    UnsafeModelError,
    UnsupportedModelError,
    closest,
)


SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".bin.index.json")
TOKENIZER_FILES = frozenset(
    {
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
        "tekken.json",
    }
)
# What a trainer leaves beside the weights.
_TRAINER_STATE = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")
# Besides weights: config, generation settings, tokenizers, chat templates.
_SMALL_FILES = (".json", ".txt", ".model", ".jinja", ".tiktoken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder that was found whole.

    Attributes:
        config: `config.json` as it stands.
        weights: The safetensors files, in the order of their names.
    """

    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]

    @property
    def has_tokenizer(self) -> bool:
        return any((self.folder / name).is_file() for name in TOKENIZER_FILES)


def wanted_files(names: Iterable[str], *, where: str, code: bool = False) -> list[str]:
    """Of the files of a repository, those that loading needs.

    Args:
        names: All files, relative to the repository.
        where: What a message calls the repository.
        code: Whether Python files are wanted too.

    Raises:
        ModelNotFoundError: If there is no config or there are no weights.
        UnsafeModelError: If the weights are pickled only.
    """
    # A repository cannot hold such a name, but what lists it may say anything.
    names = [name for name in names if not {"..", ""} & set(name.split("/"))]
    top = {name for name in names if "/" not in name}
    if "config.json" not in top:
        raise _without_config(where, top, [])
    if not {SINGLE, INDEX} & top:
        raise _without_weights(where, top)
    wanted = {name for name in top if name.endswith(_SMALL_FILES)}
    wanted -= {name for name in top if name.endswith(PICKLED)}
    if SINGLE in top:
        wanted.add(SINGLE)
    else:
        # Mistral's repositories hold every weight twice, also as "consolidated" files.
        wanted |= {
            name
            for name in top
            if name.endswith(".safetensors") and not name.startswith("consolidated")
        }
    if code:
        wanted |= {name for name in names if name.endswith(".py")}
    wanted |= {name for name in names if name.startswith("chat_templates/")}
    return sorted(wanted)


def inspect_folder(folder: Path, name: str) -> Checkpoint:
    """The checkpoint in a folder, if it is there, whole and free of code.

    Args:
        folder: Where to look.
        name: What the user called it.

    Raises:
        ModelNotFoundError: If the folder, its config or weights are missing.
        ModelAccessError: If the folder may not be read.
        UnsafeModelError: If the weights are pickled only.
        UnsupportedModelError: If a file is damaged.
    """
    if not exists(folder):
        raise _without_folder(folder, name)
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"{name!r} is a file.",
            expected="A model is a folder with config.json and safetensors weights.",
            remedy=f"Give its folder: {str(folder.parent)!r}.",
        )
    try:
        top = {path.name for path in folder.iterdir()}
    except PermissionError as error:
        raise ModelAccessError(
            f"The folder {name!r} may not be read by you.",
            remedy="Ask its owner for the permission, or copy it.",
        ) from error
    where = f"The folder {name!r}"
    if "config.json" not in top:
        nested = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise _without_config(where, top, nested)
    config = read_json(folder / "config.json")
    weights = _weights(folder, where, top)
    for file in weights:
        _check_header(file)
    return Checkpoint(folder=folder, config=config, weights=weights)


def exists(path: Path) -> bool:
    """Whether something is there; a name that no file can have is not.

    Example:
        >>> exists(Path("x" * 5000))
        False
    """
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _weights(folder: Path, where: str, top: set[str]) -> tuple[Path, ...]:
    if SINGLE in top:
        return (folder / SINGLE,)
    if INDEX not in top:
        raise _without_weights(where, top)
    shards = sorted(set(weight_files(folder / INDEX).values()))
    missing = [shard for shard in shards if shard not in top]
    if missing or not shards:
        raise ModelNotFoundError(
            f"{where} lacks {len(missing)} of its {len(shards)} weight files: "
            f"{', '.join(name[:80] for name in missing[:5])}.",
            expected=f"All files that {INDEX} names.",
            remedy="Download or copy the model again.",
        )
    return tuple(folder / shard for shard in shards)


def weight_files(index: Path) -> dict[str, str]:
    """Which file holds each tensor of a checkpoint in shards, by its index.

    Args:
        index: The file called `model.safetensors.index.json`.

    Raises:
        UnsupportedModelError: If it is damaged, or names a file elsewhere than beside
            itself.
    """
    places = read_json(index).get("weight_map", {})
    if not isinstance(places, dict):
        places = {"weight_map": places}
    for tensor, name in places.items():
        if not isinstance(name, str) or not _is_plain_name(name):
            raise UnsupportedModelError(
                f"The file {str(index)!r} says that {tensor!r:.80} is in {name!r:.80}.",
                expected="It names files beside itself.",
                remedy="Download or copy the model again.",
            )
    return places


def _is_plain_name(name: str) -> bool:
    """Whether a name can only be that of a file in the same folder."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _check_header(file: Path) -> None:
    try:
        # The header states how long the file must be, so a cut is seen at once.
        with safe_open(file, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise UnsupportedModelError(
            f"The weight file {str(file)!r} is damaged or cut short: {error}.",
            expected=_size(file),
            remedy="Download or copy it again.",
        ) from error


def _size(file: Path) -> str:
    # What an index names may also be a link that leads nowhere.
    exists = file.is_file()
    return f"It has {file.stat().st_size} bytes here." if exists else "It is no file."


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint.

    Raises:
        UnsupportedModelError: If it cannot be read.
    """
    try:
        value = atomic.parse_json(file.read_bytes())
    except (ValueError, OSError) as error:
        raise UnsupportedModelError(
            f"The file {str(file)!r} cannot be read as JSON: {error}.",
            remedy="Download or copy it again.",
        ) from error
    if not isinstance(value, dict):
        raise UnsupportedModelError(
            f"The file {str(file)!r} holds {type(value).__name__}.",
            expected="A JSON object.",
            remedy="Download or copy it again.",
        )
    return value


def _without_folder(folder: Path, name: str) -> ModelNotFoundError:
    parent = folder.parent
    if not parent.is_dir():
        return ModelNotFoundError(
            f"There is no folder {name!r}.",
            expected=f"Its parent {str(parent)!r} does not exist either.",
            remedy="Check the path.",
        )
    siblings = [path.name for path in parent.iterdir() if path.is_dir()]
    return ModelNotFoundError(
        f"There is no folder {name!r}.",
        remedy=closest(folder.name, siblings) or "Check the path.",
    )


def _without_config(where: str, top: set[str], nested: list[str]) -> ModelNotFoundError:
    remedy = "Save the model with save_pretrained, which writes it."
    if nested:
        shown = ", ".join(nested[:5]) + (", ..." if len(nested) > 5 else "")
        remedy = f"Name one of the models inside: {shown}."
    elif "adapter_config.json" in top:
        remedy = "It is an adapter: merge it into its base model (PEFT's "
        remedy += "merge_and_unload), save that and load it."
    elif any(name.endswith(".gguf") for name in top):
        remedy = "GGUF files are not read: use the model's safetensors version."
    return ModelNotFoundError(
        f"{where} has no config.json.",
        expected="A model is a folder with config.json and safetensors weights.",
        remedy=remedy,
    )


def _without_weights(
    where: str, top: set[str]
) -> ModelNotFoundError | UnsafeModelError:
    pickled = sorted(
        name
        for name in top
        if name.endswith(PICKLED) and not name.startswith(_TRAINER_STATE)
    )
    if pickled:
        return UnsafeModelError(
            f"{where} has only pickled weights ({pickled[0]}).",
            expected="Pickle runs code when it is opened, so only safetensors is read.",
            remedy="If you trust it, convert it: AutoModelForCausalLM.from_pretrained("
            "OLD, use_safetensors=False).save_pretrained(NEW).",
        )
    others = sorted(name for name in top if name.endswith(".safetensors"))
    found = f" (found {', '.join(others[:3])})" if others else ""
    return ModelNotFoundError(
        f"{where} has no weights.",
        expected=f"Weights are in {SINGLE}, or in shards named by {INDEX}{found}.",
        remedy="Save the model with save_pretrained, or download it whole.",
    )
