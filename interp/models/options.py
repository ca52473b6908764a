"""What `interp.load` can be asked for: devices, dtypes, attention implementations."""

import torch

from interp.errors import ConfigError, closest


DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
ATTENTION = (
    "eager",
    "sdpa",
    "flex_attention",
    "flash_attention_2",
    "flash_attention_3",
)


def device_map_of(device: str) -> str | None:
    """What `from_pretrained` is told about the device: None for the CPU.

    Raises:
        ConfigError: If there is no such device here.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if cuda else "cpu"
    if device == "balanced":
        if not cuda:
            raise _no_device(device, cuda)
        return device
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise _no_device(device, cuda) from error
    present = {
        "cpu": parsed.index in (None, 0),
        "cuda": (parsed.index or 0) < cuda,
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(parsed.type, False):
        raise _no_device(device, cuda)
    # No device map at all is the plainest path through `from_pretrained`.
    return None if parsed.type == "cpu" else str(parsed)


def _no_device(device: str, cuda: int) -> ConfigError:
    known = ["auto", "cpu"] + [f"cuda:{index}" for index in range(cuda)]
    known += ["balanced"] if cuda else []
    return ConfigError(
        f"There is no device {device!r} here.",
        expected=f"Devices: {', '.join(known)}."
        + ("" if cuda else " PyTorch finds no CUDA device."),
        remedy=closest(device, known) or "Use device='auto'.",
    )


def dtype_of(dtype: str | torch.dtype) -> str | torch.dtype:
    """The dtype of a name; "auto" stays.

    Raises:
        ConfigError: If models are not held in it.
    """
    if dtype == "auto" or dtype in DTYPES.values():
        return dtype
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    raise ConfigError(
        f"There is no dtype {str(dtype)!r} for a model.",
        expected=f"Known: auto, {', '.join(DTYPES)}.",
        remedy=closest(str(dtype), DTYPES) or "Use dtype='auto'.",
    )


def check_attention(attn: str | None, trust_remote_code: bool) -> None:
    """Raise unless an attention implementation is known.

    Raises:
        ConfigError: If it is not.
    """
    # A name with a slash is a kernel on a hub: compiled code that would be run.
    if attn is None or attn in ATTENTION or (trust_remote_code and "/" in attn):
        return
    raise ConfigError(
        f"There is no attention implementation {attn!r}.",
        expected=f"Known: {', '.join(ATTENTION)}.",
        remedy=closest(attn, ATTENTION) or "Leave it out for the default.",
    )
