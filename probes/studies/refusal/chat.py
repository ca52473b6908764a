"""Instructions as the prompts that a chat model would get."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interp.errors import PromptError
from interp.models.language_model import LanguageModel
from interp.models.tokens import chat_text


Ids = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How an instruction is put to a model.

    Attributes:
        writer: The tokenizer whose chat template is used, or None for none.
        origin: Where it comes from, in words.
    """

    writer: Any
    origin: str

    def text(self, instruction: str) -> str:
        """The prompt: everything up to the start of the answer."""
        if self.writer is None:
            return instruction.rstrip() + "\n"
        return chat_text(self.writer, instruction)

    def ids(self, model: LanguageModel, instructions: Sequence[str]) -> Ids:
        """The prompts as token ids of a model.

        Raises:
            PromptError: If a prompt cannot be read or is too long.
        """
        texts = [self.text(instruction) for instruction in instructions]
        if self.writer is None:
            return model.tokenize(texts).ids
        if model.tokenizer is None:
            raise PromptError(f"{model.name!r} has no tokenizer, so it cannot chat.")
        # The template writes its own special tokens.
        encoded = model.tokenizer(texts, add_special_tokens=False, verbose=False)
        return model.tokenize([list(row) for row in encoded["input_ids"]]).ids


def templates(base: LanguageModel, post: LanguageModel) -> tuple[Template, Template]:
    """The templates of the two models: BASE gets the other's if it has none."""
    own = [
        model.tokenizer if getattr(model.tokenizer, "chat_template", None) else None
        for model in (base, post)
    ]
    if own[1] is None:
        line = "no chat template: the instruction and a line break"
        plain = Template(writer=None, origin=line)
        return plain, plain
    of_post = Template(writer=own[1], origin="its own chat template")
    if own[0] is not None:
        return Template(writer=own[0], origin="its own chat template"), of_post
    borrowed = "the chat template of the post-trained model, having none"
    return Template(writer=own[1], origin=borrowed), of_post
