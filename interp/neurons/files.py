"""The output path of a model read from its files: three matrices, never the model.

The modules are built without storage, so that their paths come from where all others
come from; of the weights only the last down-projection, the norms and the head are
opened, the head a few rows at a time.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from interp.errors import UnsupportedModelError
from interp.models import hub
from interp.models.architecture import architecture_of
from interp.models.checkpoint import Checkpoint, exists, inspect_folder, read_json
from interp.models.norms import Norm, norm_of
from interp.models.safety import check_supported
from interp.neurons.output import Output, Parts, logit_scale, neuron_rows, parts_of
from interp.neurons.tensors import Tensors, tensors_of


def read_output(source: str | Path, *, revision: str | None = None) -> Output:
    """The output path of a model in a folder or on a hub, from a few of its tensors.

    Of a hub model only the weight files that hold these tensors are downloaded.

    Args:
        source: A folder in Hugging Face format, or a hub id.
        revision: Of a hub model.

    Raises:
        ModelNotFoundError: If there is no such model, or a file of it is missing.
        UnsupportedModelError: If its last MLP is a mixture of experts, its weights are
            quantised, or a tensor is not where it must be.
    """
    name, folder = str(source), Path(source).expanduser()
    is_local = (
        isinstance(source, Path)
        or exists(folder)
        or name.startswith((".", "/", "~"))
        or name.count("/") > 1
    )
    if is_local:
        checkpoint = inspect_folder(folder, name)
    else:
        folder = hub.fetch(name, revision, weights=()).folder
        config = read_json(folder / "config.json")
        checkpoint = Checkpoint(folder=folder, config=config, weights=())
    check_supported(checkpoint, name, trust_remote_code=False)
    hf = _without_storage(folder)
    parts = parts_of(architecture_of(hf), name)
    tensors = tensors_of(hf, folder, name)
    head = _head_name(hf, parts, tensors)
    if not is_local:
        needed = [head, *_names(parts)]
        files = {tensors.file(one).name for one in needed}
        hub.fetch(name, revision, weights=sorted(files))
    return _read(hf, parts, tensors, head)


def _read(hf: PreTrainedModel, parts: Parts, tensors: Tensors, head: str) -> Output:
    config = hf.config.get_text_config()
    width = config.hidden_size
    if tensors.shape(head) != (config.vocab_size, width):
        raise UnsupportedModelError(
            f"{head} of {tensors.name} is {list(tensors.shape(head))} in its file.",
            expected=f"Its config says {[config.vocab_size, width]}.",
        )
    return Output(
        name=tensors.name,
        layer=config.num_hidden_layers - 1,
        neurons=neuron_rows(parts.down, tensors.read(f"{parts.down_path}.weight")),
        neuron_bias=_bias(parts.down, parts.down_path, tensors),
        write_norm=None
        if parts.write_norm is None
        else _norm(parts.write_norm, parts.write_norm_path, tensors, width),
        final_norm=_norm(parts.final_norm, parts.final_norm_path, tensors, width),
        head=tensors.matrix(head),
        head_bias=_bias(parts.head, parts.head_path, tensors),
        logit_scale=logit_scale(config),
        softcap=getattr(config, "final_logit_softcapping", None),
    )


def _without_storage(folder: Path) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    # The class that `load` would choose; nothing is allocated or drawn.
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def _head_name(hf: PreTrainedModel, parts: Parts, tensors: Tensors) -> str:
    """The head's own weight, or the embedding where the two are one."""
    own = f"{parts.head_path}.weight"
    if own in tensors:
        return own
    return hf.all_tied_weights_keys.get(own, own)


def _names(parts: Parts) -> list[str]:
    modules = [(parts.down, parts.down_path), (parts.final_norm, parts.final_norm_path)]
    if parts.write_norm is not None:
        modules.append((parts.write_norm, parts.write_norm_path))
    names = [f"{path}.{key}" for module, path in modules for key in _parameters(module)]
    if getattr(parts.head, "bias", None) is not None:
        names.append(f"{parts.head_path}.bias")
    return names


def _norm(module: nn.Module, path: str, tensors: Tensors, width: int) -> Norm:
    parameters = {key: tensors.read(f"{path}.{key}") for key in _parameters(module)}
    return norm_of(module, parameters, width=width, name=f"norm {path}")


def _bias(module: nn.Module, path: str, tensors: Tensors) -> Tensor | None:
    if getattr(module, "bias", None) is None:
        return None
    return tensors.read(f"{path}.bias")


def _parameters(module: nn.Module) -> list[str]:
    return [key for key, value in module._parameters.items() if value is not None]
