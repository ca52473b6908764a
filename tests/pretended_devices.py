"""A PyTorch that believes in `cuda:0` and `cuda:1`, which do not exist."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from pretended_tensor import (
    CPU,
    FIRST,
    PretendedTensor,
    WrongDeviceError,
    answered,
    counted,
    place_of,
    plain,
    whole,
)
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map


class _Factories(TorchFunctionMode):
    """Tensors that are made on a pretended device, and moves to one."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.to or func is Tensor.cuda:
            return _moved(func, args, kwargs)
        asked = kwargs.get("device")
        if asked is None or whole(asked).type != "cuda":
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:
            raise WrongDeviceError(f"a generator of the CPU draws no {func.__name__}")
        made = func(
            *tree_map(plain, args), **{**tree_map(plain, kwargs), "device": CPU}
        )
        return PretendedTensor(made, whole(asked))


def _moved(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensor, rest = args[0], args[1:]
    if isinstance(tensor, PretendedTensor):
        answer = answered(func, args, kwargs)
        if answer is not NotImplemented:
            return answer
    like = next(
        (v for v in [*rest, *kwargs.values()] if isinstance(v, PretendedTensor)), None
    )
    values = [*rest, *kwargs.values()]
    asked = [v for v in values if isinstance(v, str | torch.device | int)]
    asked = [v for v in asked if not isinstance(v, bool)]
    dtype = next((v for v in values if isinstance(v, torch.dtype)), None)
    if func is Tensor.cuda and not asked:
        asked = [FIRST]
    if like is not None:
        device, dtype = like.pretended, like.dtype
    elif asked and whole(asked[0]).type == "cuda":
        device = whole(asked[0])
    else:
        return func(*args, **kwargs)
    return _Move.apply(tensor, device, dtype or tensor.dtype)


class _Move(torch.autograd.Function):
    """A copy on another device, through which gradients come back."""

    @staticmethod
    def forward(
        ctx: Any, tensor: Tensor, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        ctx.origin = place_of(tensor), tensor.dtype
        return PretendedTensor(plain(tensor.detach()).to(dtype, copy=True), device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        device, dtype = ctx.origin
        (gradient,) = gradients
        held = plain(gradient).to(dtype)
        return (held if device == CPU else PretendedTensor(held, device)), None, None


class _NoAutocast:
    """`torch.autocast` of a device that this PyTorch was built without."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.enabled = kwargs.get("enabled", True)

    def __enter__(self) -> None:
        assert not self.enabled

    def __exit__(self, *args: object) -> None:
        pass


@contextmanager
def pretended_devices() -> Iterator[dict[str, int]]:
    """Let devices `cuda:0` and `cuda:1` exist.

    Yields:
        How often values were waited for, by operation; copies to the CPU among them.
    """
    counted.clear()

    def without_gradients(mode: bool = True) -> Any:
        # Tensors of inference mode cannot be views of these.
        return torch.no_grad() if mode else nullcontext()

    def sent(flat: Tensor) -> tuple[Tensor, None]:
        return flat.to("cpu"), None

    with ExitStack() as stack:
        stack.enter_context(mock.patch("interp.activations.rows._sent", sent))
        stack.enter_context(
            mock.patch.object(torch, "inference_mode", without_gradients)
        )
        stack.enter_context(mock.patch.object(torch, "autocast", _NoAutocast))
        stack.enter_context(
            mock.patch("torch.cuda.mem_get_info", return_value=(2**34, 2**35))
        )
        stack.enter_context(
            mock.patch("torch.cuda.get_device_name", return_value="pretended")
        )
        stack.enter_context(_Factories())
        yield counted
