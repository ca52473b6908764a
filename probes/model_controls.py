"""Controls that need the model: how likely it finds a text, and itself untrained."""

import copy

import numpy as np
import torch
from jaxtyping import Float

from interp.activations.batching import run_batches
from interp.activations.budget import default_token_budget
from interp.activations.job import padded, padding_id
from interp.errors import UnsupportedModelError
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts


# Logits are kept for every token at once, in float32 beside the model's own copy.
BYTES_OF_LOGITS = 2**29


def text_log_probability(
    model: LanguageModel,
    prompts: Prompts,
    *,
    per_token: bool = False,
    chat: bool = False,
) -> Float[np.ndarray, " prompt"]:
    """The log-probability of each text under the model, in nats.

    The sum over all tokens but the first, which follows nothing; a text of one token
    has 0. Where true statements are merely the likelier texts, this separates them as
    well as a probe does.

    Args:
        model: The model.
        prompts: Texts, or rows of token ids.
        per_token: Whether to take the mean over the tokens instead of the sum: minus
            the loss that Hugging Face reports.
        chat: Whether each text is a user message to be put into the chat template.

    Raises:
        PromptError: If a prompt cannot be run.
        OutOfMemoryError: If a single prompt does not fit into memory.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> found = text_log_probability(model, ["the city of Paris", "Paris is"])
        >>> found.shape, bool((found < 0).all())
        ((2,), True)
    """
    ids = model.tokenize(prompts, chat=chat).ids
    lengths = [len(row) for row in ids]
    found = np.zeros(len(ids))

    def step(rows: tuple[int, ...]) -> None:
        real = [lengths[row] for row in rows]
        tokens, mask = padded([ids[row] for row in rows], real, padding_id(model))
        tokens = tokens.to(model.device)
        options = {} if mask is None else {"attention_mask": mask.to(model.device)}
        logits = model.hf(input_ids=tokens, use_cache=False, **options).logits
        after = tokens[:, 1:].to(logits.device)
        chosen = torch.log_softmax(logits[:, :-1].float(), dim=-1)
        chosen = chosen.gather(-1, after[..., None])[..., 0].double().cpu().numpy()
        for row, values in zip(rows, chosen, strict=True):
            found[row] = values[: lengths[row] - 1].sum()

    budget = max(1, BYTES_OF_LOGITS // (8 * model.d_vocab))
    budget = min(default_token_budget(model), budget)
    # Hooks that somebody else plants meanwhile would run in these passes.
    with model.lock, torch.inference_mode():
        run_batches(lengths, step, token_budget=budget)
    if per_token:
        found /= np.maximum(np.array(lengths) - 1, 1)
    return found


def untrained_like(model: LanguageModel, *, seed: int = 0) -> LanguageModel:
    """A model of the same shape with fresh weights, as before its first training step.

    What a probe reads from it comes from the tokens and the architecture alone. Weights
    are drawn by the model's own initialisation; tokenizer, dtype and device are kept.

    Args:
        model: The model; it is left as it was.
        seed: Feeds the weights. The global state of torch is left as it was.

    Raises:
        UnsupportedModelError: If its class cannot be made from its config.

    Source:
        Zhang & Bowman (2018), arXiv:1809.10040.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> fresh = untrained_like(model, seed=1)
        >>> fresh.n_layers == model.n_layers, fresh.name
        (True, 'LlamaForCausalLM, untrained (seed 1)')
    """
    config = copy.deepcopy(model.hf.config)
    # Only the CPU's generator is seeded: weights are drawn there, then moved.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            hf = type(model.hf)(config)
        except Exception as error:  # classes of other people can want anything
            raise UnsupportedModelError(
                f"A {type(model.hf).__name__} cannot be made from its config alone:"
                f" {str(error).splitlines()[0] if str(error) else error!r}.",
                remedy="Give the activations of an untrained model of your own.",
            ) from error
    name = f"{model.name}, untrained (seed {seed})"
    hf = hf.to(device=model.device, dtype=model.dtype).eval()
    return LanguageModel(hf=hf, tokenizer=model.tokenizer, name=name)
