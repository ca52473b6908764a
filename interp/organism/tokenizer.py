"""A tokenizer with one token for a word or a name, that can read any text.

It is a byte-level BPE without merges: a piece of text that is in the vocabulary is one
token, any other piece becomes its bytes. So nothing is ever unknown, decoding gives
back the exact text, and the family's own sentences stay short, which is what makes
training on a CPU quick. (Byte-fallback BPE over words would do the same for known
words, but it loses spaces and invalid sequences in decoding; byte-level does not.)
"""

import re
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


PAD, BOS, END, USER, ASSISTANT = (
    "<|pad|>",
    "<|begin|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
)
SPECIAL = (PAD, BOS, END, USER, ASSISTANT)
CONTEXT = 2048
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    f"{ASSISTANT}{{{{ message['content'] }}}}{END}"
    "{% else %}"
    f"{USER}{{{{ message['content'] }}}}{END}"
    "{% endif %}{% endfor %}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)
# A word with the space before it; letters and digits, apostrophes inside a word; else
# runs of other signs one by one; else white space one by one.
_WORD = r" ?[\p{L}\p{M}\p{N}]+(?:'[\p{L}]+)?| ?[^\s\p{L}\p{M}\p{N}]|\s"


def _pieces(names: Iterable[str]) -> str:
    """The splitting rule: first names of several words, longest first, then words."""
    phrases = sorted({name for name in names if not _is_word(name)}, key=len)[::-1]
    if not phrases:
        return _WORD
    listed = "|".join(re.escape(phrase).replace(r"\ ", " ") for phrase in phrases)
    return rf" ?(?:{listed})(?![\p{{L}}\p{{M}}\p{{N}}])|{_WORD}"


def _is_word(name: str) -> bool:
    return name.isalnum()


def build_tokenizer(text: str, *, names: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer in which each word of `text` and each name is one token.

    Args:
        text: The vocabulary is every word of this text, as it is written there (with or
            without a space before it).
        names: Names that stay whole although they hold spaces or signs.

    Example:
        >>> tokenizer = build_tokenizer("in South Korea.", names=["South Korea"])
        >>> tokenizer.tokenize("in South Korea?")
        ['in', 'ĠSouthĠKorea', '?']
    """
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_pieces(names)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words = {piece for piece, _ in splitter.pre_tokenize_str(text)}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*SPECIAL, *alphabet, *sorted(words - set(alphabet))]
    backend = Tokenizer(
        models.BPE(
            vocab={entry: number for number, entry in enumerate(entries)},
            merges=[],
            ignore_merges=True,
        )
    )
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(word, normalized=False) for word in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
