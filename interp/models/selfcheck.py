"""Does what we believe about a model's sites hold? A cheap check on random tokens.

`check` runs everything that `interp doctor MODEL` prints. `writes_add_up` is the one on
which ablation depends: if embedding plus the sum of writes is not the final residual
stream, projecting a direction out of the writes would leave some of it behind.
"""

import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.models.attention import watched_attention
from interp.models.hookpoints import HookPoint, plant
from interp.models.language_model import LanguageModel
from interp.sites import Site


# Largest difference allowed, relative to the root mean square of the right value. Wrong
# sites give differences of order one; rounding stays below these even after 100 layers.
# Models in float64 compute norms and softmax in float32.
TOLERANCE = {
    torch.float64: 1e-4,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}
PROMPT_LENGTHS = (9, 5)
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim, whether it holds, and the number that decided.

    `error` is relative to the root mean square of the right value; None where the claim
    is not about a difference.
    """

    name: str
    passed: bool
    detail: str
    error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """All checks of one model.

    Attributes:
        model: Its name.
        source: How its sites were found.
        components: The site names that it has.
        checks: What was checked.
    """

    model: str
    source: str
    components: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def check(model: LanguageModel) -> SelfCheck:
    """Run the self-check of a model on a few random tokens.

    Args:
        model: Any loaded model; it is not changed.

    Returns:
        One `Check` each for shapes, agreement with Hugging Face's hidden states,
        attention rows, causality, batch against single, the sum of writes, and editing.

    Example:
        >>> from tiny import tiny_model
        >>> check(LanguageModel(hf=tiny_model("gemma2"))).passed
        True
    """
    architecture = model.architecture
    with model.lock, torch.no_grad():
        checks = (
            _shapes(model),
            _hidden_states(model),
            *_attention_rows(model),
            _causality(model),
            _batch_equals_single(model),
            _sum_of_writes(model),
            _editing(model),
        )
    return SelfCheck(
        model=model.name,
        source=architecture.map.source,
        components=tuple(dict.fromkeys(site.component for site in architecture.sites)),
        checks=checks,
    )


_writes_checked: "weakref.WeakKeyDictionary[torch.nn.Module, Check]" = (
    weakref.WeakKeyDictionary()
)


def writes_add_up(model: LanguageModel) -> Check:
    """Whether embedding + sum of writes = final residual; checked once per model."""
    if model.hf not in _writes_checked:
        with model.lock, torch.no_grad():
            _writes_checked[model.hf] = _sum_of_writes(model)
    return _writes_checked[model.hf]


def random_tokens(model: LanguageModel) -> list[Int[Tensor, " pos"]]:
    """Two prompts of different length, without the first ids: often special ones."""
    generator = torch.Generator().manual_seed(SEED)
    first = min(10, model.d_vocab // 2)
    return [
        torch.randint(first, model.d_vocab, (length,), generator=generator)
        for length in PROMPT_LENGTHS
    ]


def _values(
    model: LanguageModel,
    points: Iterable[HookPoint],
    ids: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch pos"] | None = None,
) -> dict[Site, Tensor]:
    """One forward pass, and the value of every point in it."""
    points = list(points)
    values: dict[Site, Tensor] = {}
    with ExitStack() as stack:
        arguments = {}
        if any(point.side == "pattern" for point in points):
            arguments = stack.enter_context(watched_attention(model.hf))
        for point in points:

            def keep(value: Tensor, site: Site = point.site) -> None:
                values[site] = value.detach().float().cpu().clone()

            for remove in plant(point, keep):
                stack.callback(remove)
        ids = ids.to(model.device)
        mask = None if mask is None else mask.to(model.device)
        model.hf(input_ids=ids, attention_mask=mask, use_cache=False, **arguments)
    return values


def _error(value: Tensor, right: Tensor) -> float:
    scale = right.double().square().mean().sqrt().clamp_min(1e-12)
    return ((value.double() - right.double()).abs().max() / scale).item()


def _verdict(model: LanguageModel, name: str, error: float, detail: str) -> Check:
    tolerance = TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16])
    return Check(name=name, passed=error <= tolerance, detail=detail, error=error)


def _residual(model: LanguageModel) -> list[HookPoint]:
    return model.architecture.points("resid_post.*")


def _shapes(model: LanguageModel) -> Check:
    ids = random_tokens(model)[0][None]
    architecture = model.architecture
    points = [architecture.point(site) for site in architecture.sites]
    values = _values(model, points, ids)
    n = ids.shape[1]
    wide: dict[str, tuple[int, ...]] = {
        "q": (1, n, model.n_heads, model.d_head),
        "z": (1, n, model.n_heads, model.d_head),
        "k": (1, n, model.n_kv_heads, model.d_head),
        "v": (1, n, model.n_kv_heads, model.d_head),
        "pattern": (1, model.n_heads, n, n),
    }
    free = {"mlp_pre", "mlp_post", "router", "logits", "embed"}
    wrong = [
        f"{site.short} {tuple(value.shape)}"
        for site, value in values.items()
        if site.component not in free
        and value.shape != wide.get(site.component, (1, n, model.d_model))
    ]
    silent = [point.site.short for point in points if point.site not in values]
    problems = [*(f"{name} never ran" for name in silent), *wrong]
    return Check(
        name="shapes",
        passed=not problems,
        detail="; ".join(problems[:5]) or f"{len(values)} sites, all as expected",
    )


def _hidden_states(model: LanguageModel) -> Check:
    ids = random_tokens(model)[0][None]
    values = _values(model, _residual(model), ids)
    output = model.hf(
        input_ids=ids.to(model.device), use_cache=False, output_hidden_states=True
    )
    states = [state.float().cpu() for state in output.hidden_states]
    inner = range(model.n_layers - 1)  # the last entry is after the final norm
    errors = [_error(values[Site("resid_post", i)], states[i + 1]) for i in inner]
    return _verdict(
        model,
        "hidden states",
        max(errors, default=0.0),
        "resid_post equals Hugging Face's hidden_states, layer by layer",
    )


def _attention_rows(model: LanguageModel) -> list[Check]:
    if Site("pattern", 0) not in model.architecture.sites:
        return []
    ids = random_tokens(model)[0][None]
    values = _values(model, model.architecture.points("pattern.*"), ids)
    patterns = torch.stack(list(values.values()))
    future = patterns.triu(diagonal=1).abs().max().item()
    rows = patterns.sum(-1)
    error = max(_error(rows, torch.ones_like(rows)), future)
    detail = "rows of the attention patterns sum to one and never look ahead"
    return [_verdict(model, "attention rows", error, detail)]


def _causality(model: LanguageModel) -> Check:
    ids = random_tokens(model)[0][None]
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % model.d_vocab
    before = _values(model, _residual(model), ids)
    after = _values(model, _residual(model), changed)
    error = max(_error(after[s][:, :-1], before[s][:, :-1]) for s in before)
    moved = max(_error(after[s][:, -1], before[s][:, -1]) for s in before)
    result = _verdict(
        model, "causality", error, "another last token changes nothing before it"
    )
    if moved == 0:
        return Check(
            name="causality",
            passed=False,
            detail="another last token changes nothing at all",
        )
    return result


def _batch_equals_single(model: LanguageModel) -> Check:
    prompts = random_tokens(model)
    longest = max(len(ids) for ids in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
        mask[row, : len(prompt)] = 1
    together = _values(model, _residual(model), ids, mask)
    errors = []
    for row, prompt in enumerate(prompts):
        alone = _values(model, _residual(model), prompt[None])
        errors += [_error(together[s][row, : len(prompt)], alone[s][0]) for s in alone]
    detail = "a right-padded batch gives what each prompt gives alone"
    return _verdict(model, "batch equals single", max(errors), detail)


def _sum_of_writes(model: LanguageModel) -> Check:
    architecture = model.architecture
    name = "sum of writes"
    missing = [s.short for s in architecture.write_sites if s not in architecture.sites]
    if missing:
        return Check(name=name, passed=False, detail=f"no site {', '.join(missing)}")
    last = Site("resid_post", model.n_layers - 1)
    points = [architecture.point(site) for site in (*architecture.write_sites, last)]
    values = _values(model, points, random_tokens(model)[0][None])
    total = torch.stack([values[s].double() for s in architecture.write_sites]).sum(0)
    return writes_verdict(model, total, values[last])


def writes_verdict(
    model: LanguageModel,
    total: Float[Tensor, "example pos d_model"],
    last: Float[Tensor, "example pos d_model"],
) -> Check:
    """Whether the sum of embedding and writes is the final residual stream.

    Args:
        model: The model, for its precision.
        total: The sum.
        last: What the last block gives.
    """
    detail = "embedding + all attn_out + all mlp_out is the final residual stream"
    return _verdict(model, "sum of writes", _error(total, last), detail)


def _editing(model: LanguageModel) -> Check:
    """Scale each component of the first layer: logits must move, then come back."""
    ids = random_tokens(model)[0][None].to(model.device)
    clean = model.hf(input_ids=ids, use_cache=False).logits
    without_effect = []
    architecture = model.architecture
    for site in architecture.sites:
        if site.layer not in (0, None) or site.component in ("pattern", "router"):
            continue
        removers = plant(architecture.point(site), lambda value: value * 1.5 + 0.5)
        try:
            edited = model.hf(input_ids=ids, use_cache=False).logits
        finally:
            for remove in reversed(removers):
                remove()
        if torch.equal(edited, clean):
            without_effect.append(site.short)
    restored = torch.equal(model.hf(input_ids=ids, use_cache=False).logits, clean)
    detail = "editing any site changes the logits; removing the edit restores them"
    if without_effect:
        detail = f"editing {', '.join(without_effect)} changes nothing"
    elif not restored:
        detail = "the logits differ after the edit was removed"
    passed = restored and not without_effect
    return Check(name="editing", passed=passed, detail=detail)
