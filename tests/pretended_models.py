"""Models whose weights lie on pretended devices."""

from collections.abc import Sequence

import torch
from pretended_tensor import FIRST, SECOND, PretendedTensor
from torch import nn
from transformers import PreTrainedModel


def on_devices(hf: PreTrainedModel, *, spread: bool = True) -> PreTrainedModel:
    """The model, with its weights on pretended devices; it is changed.

    With `spread`, the second half of the blocks, the final norm and the head lie on
    the second device, and hooks of accelerate move what enters, as for a device map.
    """
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    from interp.models.structure import map_from_structure

    paths = map_from_structure(hf)
    blocks = list(hf.get_submodule(paths.blocks).children())
    late: list[nn.Module] = blocks[(len(blocks) + 1) // 2 :]
    late += [hf.get_submodule(path) for path in (paths.final_norm,) if path]
    head = hf.get_output_embeddings()
    # A head that shares the embedding's weight stays with it.
    if head is not None and head.weight is not hf.get_input_embeddings().weight:
        late.append(head)
    second = {id(m) for module in late for m in module.modules()} if spread else set()
    moved: dict[int, nn.Parameter] = {}
    for module in hf.modules():
        device = SECOND if id(module) in second else FIRST
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) not in moved:
                held = PretendedTensor(parameter.detach(), device)
                moved[id(parameter)] = nn.Parameter(held, requires_grad=False)
                moved[id(parameter)].requires_grad_(parameter.requires_grad)
            module._parameters[name] = moved[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = PretendedTensor(buffer, device)
    if spread:
        whole: Sequence[tuple[nn.Module, torch.device, bool]] = [
            (hf, FIRST, True),
            *((b, SECOND if b in late else FIRST, False) for b in blocks),
            *((m, SECOND, False) for m in late if m not in blocks),
            *([(head, FIRST, False)] if head is not None and head not in late else []),
        ]
        for module, device, same in whole:
            hook = AlignDevicesHook(io_same_device=same)
            # Set afterwards: the weights are there already.
            add_hook_to_module(module, hook)
            hook.execution_device = device
    return hf
