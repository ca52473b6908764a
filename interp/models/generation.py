"""Text from a model: Hugging Face's `generate`, with nothing left to chance.

Checkpoints bring generation settings (sampling, penalties, forced tokens) that would
make results depend on who packed the model, so none is used. Prompts are padded on the
left under an explicit mask, and a prompt's text does not depend on its neighbours.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from interp.errors import ConfigError, OutOfMemoryError, PromptError
from interp.models.reading import stated_batch
from interp.models.tokens import Prompts
from interp.progress import progress_bar


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel


BATCH_SIZE = 64
# Two words that no chat template contains, to find what it writes after an answer.
_QUESTION, _ANSWER = "qwertz", "asdfgh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """What a model wrote after each prompt.

    Attributes:
        prompt_ids: The prompts as token ids.
        ids: The new token ids, without the stop token that ended them.
        texts: The new text, or None if the model has no tokenizer.
        stopped: Whether a stop token ended the text; otherwise its length did.
    """

    prompt_ids: tuple[tuple[int, ...], ...]
    ids: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...] | None
    stopped: tuple[bool, ...]


def generate(
    model: "LanguageModel",
    prompts: Prompts,
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
    chat: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Generations:
    """What the model writes after each prompt, in the order of the prompts.

    The text of a prompt is the same alone and in a batch, up to float noise. The lock
    of the model is held throughout, and edits that are in force apply.

    Args:
        model: The model.
        prompts: Texts, or rows of token ids.
        max_new_tokens: Where to stop at the latest.
        temperature: 0 takes the likeliest token; above it, tokens are drawn from the
            softmax of the logits divided by it.
        seed: Of the draws; each prompt has its own stream.
        chat: Whether each text is a user message to be put into the chat template.
        batch_size: How many prompts run together; halved when memory runs out.

    Raises:
        PromptError: If a prompt cannot be read, or has no room for the new tokens.
        ConfigError: If a number is out of its range.
        OutOfMemoryError: If even one prompt does not fit.
    """
    check_number("max_new_tokens", max_new_tokens, 1)
    check_number("temperature", temperature, 0)
    check_number("batch_size", batch_size, 1)
    tokenized = model.tokenize(prompts, chat=chat)
    check_room(tokenized.ids, max_new_tokens, model.context_length)
    stops = stop_tokens(model)
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=list(stops) or None,
        # Any id will do as padding: the mask hides it.
        pad_token_id=stops[0] if stops else 0,
    )
    with model.lock, _plain_settings(model.hf):
        written = _write(
            model,
            tokenized.ids,
            settings=settings,
            temperature=temperature,
            seed=seed,
            batch_size=batch_size,
        )
    return _collect(model, tokenized.ids, written, stops)


def _write(
    model: "LanguageModel",
    prompts: Sequence[tuple[int, ...]],
    *,
    settings: GenerationConfig,
    temperature: float,
    seed: int,
    batch_size: int,
) -> list[tuple[int, ...]]:
    seeds = prompt_seeds(seed, len(prompts))
    # Long ones first: memory runs out at once or not at all, and padding stays small.
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    written: dict[int, tuple[int, ...]] = {}
    with progress_bar("generate", len(order), "prompts") as bar:
        while len(written) < len(order):
            rows = order[len(written) : len(written) + batch_size]
            processors = LogitsProcessorList()
            if temperature > 0:
                streams = [seeds[row] for row in rows]
                processors.append(Draws(temperature, streams, model.device))
            try:
                # Edits in force ask which prompts these are: they are not in order.
                with stated_batch(
                    model.hf,
                    prompt_lengths=[len(prompts[row]) for row in rows],
                    rows=rows,
                    n_rows=len(prompts),
                ):
                    batch = [prompts[row] for row in rows]
                    new = _run(model, batch, settings, processors)
            except torch.OutOfMemoryError as error:
                if len(rows) == 1:
                    raise OutOfMemoryError(
                        f"One prompt of {len(prompts[rows[0]])} tokens does not fit "
                        f"with {settings.max_new_tokens} new ones.",
                        remedy="Shorten it or load with dtype='bfloat16'.",
                    ) from error
                batch_size = len(rows) // 2
                continue
            written.update(zip(rows, new, strict=True))
            bar.advance(len(rows))
    return [written[row] for row in range(len(prompts))]


def prompt_seeds(seed: int, n: int) -> list[int]:
    """The seed of each prompt's own stream of draws."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2**31, (n,), generator=generator).tolist()


def stop_tokens(model: "LanguageModel") -> tuple[int, ...]:
    """The token ids that end an answer.

    The tokenizer's end-of-text token, those that the checkpoint's settings name, and
    the special token that the chat template writes after an assistant's turn.
    """
    found: set[int | None] = {_end_of_turn(model.tokenizer)}
    for holder in (
        model.tokenizer,
        getattr(model.hf, "generation_config", None),
        model.hf.config.get_text_config(decoder=True),
    ):
        value = getattr(holder, "eos_token_id", None)
        found.update(value if isinstance(value, list | tuple) else [value])
    return tuple(
        sorted(token for token in found if token is not None and token < model.d_vocab)
    )


def _end_of_turn(tokenizer: Any) -> int | None:
    if not getattr(tokenizer, "chat_template", None):
        return None
    turns = [
        {"role": "user", "content": _QUESTION},
        {"role": "assistant", "content": _ANSWER},
    ]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # a template that cannot render an answer has no end of one
        return None
    _, found, rest = text.partition(_ANSWER)
    special = {
        str(token): index
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special
    }
    longest_first = sorted(special, key=len, reverse=True)
    first = re.match(r"\s*(" + "|".join(map(re.escape, longest_first)) + ")", rest)
    return special.get(first[1]) if found and first else None


class Draws(LogitsProcessor):
    """Turns "the largest logit" into a draw from the softmax, one stream per prompt.

    Adding Gumbel noise to logits and taking the largest is a draw from their softmax,
    so no global random state is used and a prompt's draws do not depend on its batch.
    """

    def __init__(
        self, temperature: float, seeds: Sequence[int], device: torch.device
    ) -> None:
        self._temperature = temperature
        self._streams = [
            torch.Generator(device=device).manual_seed(seed) for seed in seeds
        ]

    def __call__(
        self,
        input_ids: Int[Tensor, "example pos"],
        scores: Float[Tensor, "example vocab"],
    ) -> Float[Tensor, "example vocab"]:
        del input_ids
        noise = torch.stack(
            [
                torch.empty(row.shape, device=row.device).exponential_(generator=stream)
                for row, stream in zip(scores, self._streams, strict=True)
            ]
        )
        # A zero, which float32 can draw, would make its token win with certainty.
        noise = noise.clamp_min(torch.finfo(noise.dtype).tiny)
        return scores.float() / self._temperature - noise.log()


def _run(
    model: "LanguageModel",
    rows: Sequence[tuple[int, ...]],
    settings: GenerationConfig,
    processors: LogitsProcessorList,
) -> list[tuple[int, ...]]:
    width = max(map(len, rows))
    pad = settings.pad_token_id
    ids = torch.tensor([(pad,) * (width - len(row)) + row for row in rows])
    mask = torch.tensor([(0,) * (width - len(row)) + (1,) * len(row) for row in rows])
    output = model.complete(ids, mask, settings, processors)
    return [tuple(row) for row in output[:, width:].tolist()]


def _collect(
    model: "LanguageModel",
    prompt_ids: tuple[tuple[int, ...], ...],
    written: Sequence[tuple[int, ...]],
    stops: tuple[int, ...],
) -> Generations:
    ends = [
        next((at for at, token in enumerate(row) if token in stops), None)
        for row in written
    ]
    ids = tuple(row[:end] for row, end in zip(written, ends, strict=True))
    texts = None
    if model.tokenizer is not None:
        texts = tuple(
            model.tokenizer.decode(list(row), skip_special_tokens=True) for row in ids
        )
    return Generations(
        prompt_ids=prompt_ids,
        ids=ids,
        texts=texts,
        stopped=tuple(end is not None for end in ends),
    )


def check_number(name: str, value: float, least: int) -> None:
    """Refuse a setting below its least value.

    Raises:
        ConfigError: If it is.
    """
    if not value >= least:
        raise ConfigError(
            f"{name} is {value}.", expected=f"At least {least}.", remedy="Raise it."
        )


def check_room(
    rows: Sequence[tuple[int, ...]], max_new_tokens: int, context_length: int | None
) -> None:
    """Refuse prompts behind which the new tokens do not fit.

    Raises:
        PromptError: If there is one.
    """
    if context_length is None:
        return
    for index, row in enumerate(rows):
        if len(row) + max_new_tokens > context_length:
            raise PromptError(
                f"Prompt {index} has {len(row)} tokens, and {max_new_tokens} new ones "
                "do not fit behind it.",
                expected=f"The model reads at most {context_length} in all.",
                remedy="Shorten the prompt or lower max_new_tokens.",
            )


@contextmanager
def _plain_settings(hf: Any) -> Iterator[None]:
    # `generate` fills every setting that it was not given from the checkpoint's own.
    own = hf.generation_config
    hf.generation_config = GenerationConfig()
    try:
        yield
    finally:
        hf.generation_config = own
