"""What this machine has free: disk where results go, memory where models run."""

import shutil
from pathlib import Path

import psutil
import torch

from interp.activations.budget import bytes_of_a_token, default_token_budget
from interp.models.outline import Outline
from probes.planning.plan import Memory


def free_disk(folder: Path) -> int:
    """The bytes that are free on the disk of a folder, which need not exist.

    Args:
        folder: Where results would go.

    Example:
        >>> free_disk(getfixture("tmp_path") / "not" / "yet") > 0
        True
    """
    place = folder.expanduser().absolute()
    while not place.is_dir():
        place = place.parent
    return shutil.disk_usage(place).free


def free_memory(device: str) -> int | None:
    """The bytes that are free where models would run; None if that is not known.

    Args:
        device: `"cpu"`, `"cuda:0"` and so on; `"balanced"` is all GPUs together.
    """
    if device == "cpu":
        return psutil.virtual_memory().available
    if device == "balanced":
        numbers = range(torch.cuda.device_count())
        return sum(torch.cuda.mem_get_info(number)[0] for number in numbers)
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(torch.device(device))[0]
    return None


def budget_of(outline: Outline) -> int:
    """The most tokens of a batch where a model would run."""
    device = "cuda" if outline.device == "balanced" else outline.device
    return default_token_budget(outline.model, device=torch.device(device))


def memory_of(
    outlines: list[Outline], *, rows: int, tokens: int, logits: bool
) -> Memory:
    """The peak of a process that holds some models.

    Args:
        outlines: The models that are held at once.
        rows: Bytes of captured rows that are held.
        tokens: The tokens of the largest batch.
        logits: Whether logits of all its tokens are computed.
    """
    model = outlines[0].model
    batch = tokens * bytes_of_a_token(model)
    if logits:
        batch += tokens * model.d_vocab * model.dtype.itemsize
    device = outlines[0].device
    return Memory(
        weights=sum(one.weight_bytes for one in outlines),
        batch=batch,
        rows=rows,
        device=device,
        free=free_memory(device),
    )
