"""Tensors on devices that do not exist: real numbers on the CPU, strict about devices.

A tensor on a pretended device holds its values on the CPU and says that it lies on
`cuda:0` or `cuda:1`. What PyTorch refuses on real devices is refused here: tensors of
two devices in one operation, an index on a device where the indexed tensor is not,
`numpy()`. Reading a value back (`item`, `tolist`, `bool`, `nonzero`) is counted, since
a real device would have to be waited for.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot, scaled_dot_product_attention
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map


aten: Any = torch.ops.aten
CPU = torch.device("cpu")
FIRST, SECOND = torch.device("cuda:0"), torch.device("cuda:1")
# Indices may lie on the CPU wherever the indexed tensor is.
_INDEXING = (
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
    aten._unsafe_index_put.default,
)
_ACROSS = (aten.copy_.default, aten.copy.default)
_WAITING = (
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
)
TO_THE_CPU = "copies to the CPU"
# These read every value of a tensor of one element, wherever it is, only if it is on
# the device of the others.
_WITHOUT_SCALARS = (
    aten.cat.default,
    aten.stack.default,
    aten.mm.default,
    aten.bmm.default,
    aten.addmm.default,
    aten.baddbmm.default,
    aten.gather.default,
    aten.scatter.src,
    aten.index_select.default,
    aten.index_copy.default,
    aten.index_copy_.default,
    aten.index_add.default,
    aten.index_add_.default,
    aten.embedding.default,
)


class WrongDeviceError(RuntimeError):
    """What a real device would have refused."""


class PretendedTensor(Tensor):
    """Values on the CPU that say that they lie elsewhere."""

    held: Tensor
    pretended: torch.device

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> "PretendedTensor":
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            # Not the CPU, or `.to("cpu")` would do nothing; not CUDA either, whose
            # backward pass would look for the device.
            device=torch.device("meta"),
            requires_grad=held.requires_grad,
        )
        made.held = held
        made.pretended = device
        return made

    def __init__(self, held: Tensor, device: torch.device) -> None:
        pass

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"PretendedTensor({self.held!r}, {self.pretended})"

    @property
    def device(self) -> torch.device:  # pyright: ignore
        return self.pretended

    @property
    def is_cuda(self) -> bool:  # pyright: ignore
        return True

    @property
    def is_meta(self) -> bool:  # pyright: ignore
        return False

    @property
    def is_cpu(self) -> bool:  # pyright: ignore
        return False

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        answer = answered(func, args, kwargs or {})
        if answer is not NotImplemented:
            return answer
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _dispatched(func, args, kwargs or {})


def answered(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What is answered about a pretended tensor without asking PyTorch."""
    if func is scaled_dot_product_attention:
        return _attention(*args, **kwargs)
    if func in (torch.where, Tensor.where) and len(args) == 3:
        return _where(func, *args)
    if not args or not isinstance(args[0], PretendedTensor):
        return NotImplemented
    tensor = args[0]
    if func is one_hot:
        return PretendedTensor(one_hot(tensor.held, *args[1:], **kwargs), tensor.device)
    if func is Tensor.get_device:
        return tensor.pretended.index
    if func is Tensor.data_ptr:
        return tensor.held.data_ptr()
    if func is Tensor.pin_memory:
        raise WrongDeviceError("only tensors on the CPU can be pinned")
    if func is Tensor.tolist:
        counted["tolist"] = counted.get("tolist", 0) + 1
        return tensor.held.tolist()
    if func in (Tensor.numpy, Tensor.__array__):
        raise WrongDeviceError(f"no NumPy array of a tensor on {tensor.pretended}")
    if func is Tensor.__setitem__:
        return _set(tensor, *args[1:])
    if func is Tensor.__getitem__:
        with torch._C.DisableTorchFunctionSubclass():
            return func(tensor, _index(args[1]))
    if func is Tensor.cuda:
        return tensor.to(whole(args[1] if len(args) > 1 else FIRST))
    if func is Tensor.to and _is_there(tensor, args[1:], kwargs):
        return tensor
    return NotImplemented


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """In plain operations: PyTorch chooses a kernel by the device it believes in."""
    if enable_gqa:
        groups = query.shape[1] // key.shape[1]
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool)
        attn_mask = PretendedTensor(ones.tril(), query.device)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    # A query that may see nothing, as in padding on the left, gets zeros.
    return scores.softmax(-1).nan_to_num(0.0) @ value


def _where(func: Any, *args: Any) -> Tensor:
    # PyTorch makes tensors of numbers on the device that it believes in.
    dtype = next(
        (a.dtype for a in args if isinstance(a, Tensor) and a.dtype != torch.bool), None
    )
    tensors = [
        a if isinstance(a, Tensor) else torch.tensor(a, dtype=dtype) for a in args
    ]
    with torch._C.DisableTorchFunctionSubclass():
        return func(*tensors)


def _set(tensor: PretendedTensor, index: Any, value: Any) -> None:
    # PyTorch makes a tensor of a number on the device that it believes in.
    if not isinstance(value, Tensor) or (not value.dim() and place_of(value) == CPU):
        number = torch.as_tensor(value).to(tensor.dtype)
        value = PretendedTensor(number, tensor.pretended)
    with torch._C.DisableTorchFunctionSubclass():
        Tensor.__setitem__(tensor, _index(index), value)


def _index(index: Any) -> Any:
    """An index whose lists are tensors, on the CPU."""
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    if isinstance(index, list | np.ndarray):
        return torch.as_tensor(np.asarray(index))
    return index


def _is_there(tensor: PretendedTensor, args: Sequence[Any], kwargs: Any) -> bool:
    """Whether `to` has nothing to do."""
    if kwargs.get("copy") or any(value is True for value in args[2:]):
        return False
    values = [*args, *kwargs.values()]
    like = next((v for v in values if isinstance(v, Tensor)), None)
    dtypes = [v for v in values if isinstance(v, torch.dtype)]
    devices = [v for v in values if isinstance(v, str | torch.device)]
    if like is not None:
        dtypes, devices = [like.dtype], [like.device]
    return all(v == tensor.dtype for v in dtypes) and all(
        whole(v) == tensor.pretended for v in devices
    )


def whole(device: Any) -> torch.device:
    """A device with its index."""
    found = torch.device(device) if not isinstance(device, int) else None
    if found is None:
        return torch.device("cuda", device)
    if found.type == "cuda" and found.index is None:
        return FIRST
    return found


def place_of(tensor: Tensor) -> torch.device:
    return tensor.pretended if isinstance(tensor, PretendedTensor) else CPU


def plain(value: Any) -> Any:
    return value.held if isinstance(value, PretendedTensor) else value


counted: dict[str, int] = {}


def _dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    if func in _WAITING:
        counted[func.__name__] = counted.get(func.__name__, 0) + 1
    asked = kwargs.get("device")
    if asked is not None and torch.device(asked).type != "meta":
        device = whole(asked)
        kwargs = {**kwargs, "device": CPU}
    elif func in _ACROSS:
        device = place_of(args[0])
        kwargs.pop("device", None)
    else:
        device = _common(func, args, tensors)
        if asked is not None:
            kwargs = {**kwargs, "device": CPU}
    if kwargs.get("pin_memory"):
        kwargs = {**kwargs, "pin_memory": False}
    if device == CPU and any(place_of(tensor) != CPU for tensor in tensors):
        counted[TO_THE_CPU] = counted.get(TO_THE_CPU, 0) + 1
    plain_args, plain_kwargs = tree_map(plain, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)

    def wrapped(value: Any) -> Any:
        if isinstance(value, Tensor) and device != CPU:
            return PretendedTensor(value, device)
        return value

    result = tree_map(wrapped, result)
    if device == CPU:
        return args[0] if func in _ACROSS and func is _ACROSS[0] else result
    return return_and_correct_aliasing(func, args, kwargs, result)


def _common(func: Any, args: Any, tensors: Sequence[Tensor]) -> torch.device:
    """The one device of all tensors of an operation."""
    if func in _INDEXING:
        home = place_of(args[0])
        for index in args[1]:
            if index is not None and place_of(index) not in (CPU, home):
                raise WrongDeviceError(
                    f"an index on {place_of(index)} into a tensor on {home}"
                )
        tensors = [args[0], *(t for t in args[2:] if isinstance(t, Tensor))]
    scalars = func not in _WITHOUT_SCALARS
    devices = {
        place_of(t)
        for t in tensors
        if not (scalars and not t.dim() and place_of(t) == CPU)
    }
    if len(devices) > 1:
        found = ", ".join(
            f"{place_of(t)} {tuple(t.shape)}" for t in tensors if isinstance(t, Tensor)
        )
        raise WrongDeviceError(f"{func} got tensors on two devices: {found}")
    return devices.pop() if devices else CPU


def unpretended(tensor: Tensor) -> Tensor:
    """The values, on the CPU."""
    return tensor.held if isinstance(tensor, PretendedTensor) else tensor
