"""Capture into a store: cut into shards, resumable, the same bytes every time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath

from torch import Tensor

from interp.activations import capture
from interp.activations.capture import Sites, storage_dtype
from interp.activations.resolving import ResolvedPrompts, resolve_positions
from interp.errors import ConfigError
from interp.models.identity import identity_of
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.positions import PositionSpec
from interp.provenance import record
from interp.store.manifest import fingerprint
from interp.store.reader import Store, open as open_store
from interp.store.spec import Shape, StoreSpec, plan_shards
from interp.store.writer import fill


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePlan:
    """A capture that is ready to run: what the store will hold, and how.

    Attributes:
        spec: What the store will hold.
        rows: One row for each prompt, with its token count and the user's columns.
        resolved: The token ids and the positions of all prompts.
    """

    spec: StoreSpec
    rows: Sequence[Mapping[str, object]]
    resolved: ResolvedPrompts


def plan_capture(
    model: LanguageModel,
    prompts: Prompts,
    *,
    sites: Sites = "resid_post.*",
    positions: PositionSpec = "last",
    dtype: str | None = None,
    chat: bool = False,
    columns: Sequence[Mapping[str, object]] | None = None,
    rows_per_shard: int | None = None,
) -> CapturePlan:
    """What a capture into a store will write; nothing but one prompt is run.

    Args:
        model: The model.
        prompts: Texts, or rows of token ids.
        sites: Which activations; patterns have no fixed shape and are refused.
        positions: Which tokens; several are padded to the longest of their shard.
        dtype: How the rows are kept; as the model computes them by default.
        chat: Whether each text is a user message to be put into the chat template.
        columns: For each prompt further columns of the table of rows.
        rows_per_shard: How many rows a shard has; chosen by size by default.

    Raises:
        PromptError: If a prompt cannot be run.
        PositionError: If a prompt lacks a position.
        ConfigError: If a site cannot be stored.
    """
    resolved = resolve_positions(model, prompts, positions=positions, chat=chat)
    rows = _rows(resolved, columns)
    stored = str(storage_dtype(dtype, model)).removeprefix("torch.")
    shapes = _row_shapes(model, resolved, sites)
    identity = identity_of(model)
    spec = StoreSpec(
        model=identity.name,
        revision=identity.revision or identity.weights_hash,
        tokenizer=identity.tokenizer_hash,
        sites=shapes,
        positions=resolved.positions.spec,
        dtype=stored,  # pyright: ignore[reportArgumentType]  # StoreSpec checks it
        data=fingerprint(rows),
        plan=plan_shards(
            shapes,
            dtype=stored,  # pyright: ignore[reportArgumentType]
            n_examples=len(rows),
            n_tokens=[len(places) for places in resolved.positions.index],
            rows_per_shard=rows_per_shard,
        ),
        options={
            "chat": chat,
            "template": identity.template_hash,
            "attention": identity.attention,
            "model_dtype": identity.dtype,
        },
    )
    return CapturePlan(spec=spec, rows=rows, resolved=resolved)


def capture_to(
    folder: str | PurePath, model: LanguageModel, plan: CapturePlan
) -> Store:
    """Run a planned capture, or what is missing of it, and open the store.

    The same call after any interruption goes on where it stopped; the finished store is
    equal, byte by byte, to one that was never interrupted.

    Args:
        folder: Where the store is or will be.
        model: The model that the plan was made with.
        plan: What `plan_capture` returned.

    Raises:
        StoreError: If the folder cannot be written or holds something else.
        IncompatibleError: If it holds another capture.
        DiskFullError: If the disk has not enough room; what is whole stays.
        StoppedError: If a signal asked to stop; all finished shards are whole.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> plan = plan_capture(model, ["Rome is", "Paris is"], sites="resid_post.1")
        >>> store = capture_to(getfixture("tmp_path") / "acts", model, plan)
        >>> store["resid_post.1"][:].shape
        torch.Size([2, 32])
    """
    spec = plan.spec
    resolved = plan.resolved

    def compute(rows: range) -> dict[str, Tensor]:
        acts = capture(
            model,
            [resolved.tokenized.ids[row] for row in rows],
            sites=list(spec.sites),
            positions=resolved.positions.select(rows),
            dtype=spec.dtype,
        )
        return {site: value.contiguous() for site, value in acts.by_site().items()}

    provenance = asdict(record("capture", models=[identity_of(model)]))
    fill(folder, spec, plan.rows, compute=compute, provenance=provenance)
    return open_store(folder)


def _rows(
    resolved: ResolvedPrompts, columns: Sequence[Mapping[str, object]] | None
) -> list[dict[str, object]]:
    """The table of rows: the user's columns, the text, and how many tokens."""
    tokenized = resolved.tokenized
    own = columns if columns is not None else [{}] * len(tokenized)
    return [
        {
            **given,
            **({} if text is None else {"prompt": text}),
            "n_tokens": len(places),
            "prompt_tokens": len(ids),
        }
        for given, text, places, ids in zip(
            own, tokenized.texts, resolved.positions.index, tokenized.ids, strict=True
        )
    ]


def _row_shapes(
    model: LanguageModel, resolved: ResolvedPrompts, sites: Sites
) -> dict[str, Shape]:
    """The shape of one row at each site, found by running the shortest prompt."""
    lengths = resolved.tokenized.lengths
    shortest = lengths.index(min(lengths))
    acts = capture(
        model,
        [resolved.tokenized.ids[shortest]],
        sites=sites,
        positions=resolved.positions.select([shortest]),
        # Only shapes are read, and a model without weights has nothing to copy.
        device=model.device,
    )
    patterns = [site.short for site in acts.sites if site.component == "pattern"]
    if patterns:
        raise ConfigError(
            f"The site {patterns[0]!r} cannot be stored.",
            expected="A pattern is as wide as its prompt is long.",
            remedy="Capture it in memory with interp.capture, or store 'q' and 'k'.",
        )
    several = resolved.positions.kind == "several"
    shapes: dict[str, Shape] = {}
    for site, value in acts.by_site().items():
        shape = tuple(value.shape[1:])
        shapes[site] = ("pos", *shape[1:]) if several else shape
    return shapes
