"""`moments`: mean and covariance of activations, without keeping a single row."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations.capture import checked_budget
from interp.activations.forward import run
from interp.activations.job import Job
from interp.activations.points import Sites, hook_points
from interp.activations.recorder import Batch
from interp.activations.resolving import resolve_positions
from interp.errors import EmptyClassError, MissingSiteError, ShapeError, closest
from interp.models.hookpoints import HookPoint
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.positions import PositionSpec, Span
from interp.sites import Site, parse


Label = Hashable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Mean and covariance of each site, over all rows and for each class.

    Attributes:
        sites: The sites, in forward order.
        classes: The labels that occur, in order of first appearance; `(None,)` if no
            labels were given.
        counts: How many rows each class has; with several positions each is a row.
        centres: For each site the mean of each class, `[class, d]`, in float64.
        scatters: For each site the sum over the rows of a class of the outer products
            of their deviations from its mean, `[class, d, d]`; empty if not asked for.
    """

    sites: tuple[Site, ...]
    classes: tuple[Label, ...]
    counts: tuple[int, ...]
    centres: Mapping[str, Float[Tensor, "class d"]]
    scatters: Mapping[str, Float[Tensor, "class d d"]]

    def mean(
        self, site: str | Site, *, label: Label = None
    ) -> Float[Tensor, "*layer d"]:
        """The mean of a site; with a layer axis where a component is named.

        Args:
            site: `"resid_post.3"`, or `"resid_post"` for all its layers.
            label: One class only.
        """
        return self._of_each(site, lambda name: self._merged(name, label)[1])

    def covariance(
        self,
        site: str | Site,
        *,
        label: Label = None,
        within: bool = False,
        ddof: int = 1,
    ) -> Float[Tensor, "*layer d d"]:
        """The covariance of a site; with a layer axis where a component is named.

        Args:
            site: `"resid_post.3"`, or `"resid_post"` for all its layers.
            label: One class only.
            within: Deviations from the mean of each row's own class instead of the
                mean of all.
            ddof: What is subtracted from the number of rows in the divisor.

        Raises:
            EmptyClassError: If there are too few rows.
            MissingSiteError: If no covariance was asked for.
        """

        def one(name: str) -> Tensor:
            if name not in self.scatters:
                raise MissingSiteError(
                    "Only means were asked for.", remedy="Leave out covariance=False."
                )
            if within:
                count, scatter = sum(self.counts), self.scatters[name].sum(0)
            else:
                count, _, scatter = self._merged(name, label)
            if count <= ddof:
                raise EmptyClassError(
                    f"A covariance of {count} rows was asked for.",
                    expected=f"It needs more than {ddof}.",
                    remedy="Give more prompts.",
                )
            return scatter / (count - ddof)

        return self._of_each(site, one)

    def _of_each(self, site: str | Site, one: Callable[[str], Tensor]) -> Tensor:
        components = {known.component for known in self.sites}
        if isinstance(site, str) and site in components - {s.short for s in self.sites}:
            names = [s.short for s in self.sites if s.component == site]
            return torch.stack([one(name) for name in names])
        name = (site if isinstance(site, Site) else parse(site)).short
        shorts = [known.short for known in self.sites]
        if name not in shorts:
            raise MissingSiteError(
                f"The site {name!r} has no moments here.",
                expected=f"There are: {', '.join(shorts)}.",
                remedy=closest(name, shorts) or "Name it in sites=.",
            )
        return one(name)

    def _merged(self, name: str, label: Label) -> tuple[int, Tensor, Tensor]:
        """Rows, mean and scatter of one class, or of all together."""
        chosen = range(len(self.classes))
        if label is not None:
            if label not in self.classes:
                raise EmptyClassError(
                    f"No row has the label {label!r}.",
                    expected=f"Labels: {', '.join(map(repr, self.classes))}.",
                )
            chosen = [self.classes.index(label)]
        running = _Running()
        for c in chosen:
            scatter = self.scatters[name][c] if self.scatters else None
            running.add(self.counts[c], self.centres[name][c], scatter)
        scatter = running.scatter
        return running.count, running.mean, running.mean if scatter is None else scatter


def moments(
    model: LanguageModel,
    prompts: Prompts,
    *,
    sites: Sites = "resid_post.*",
    positions: PositionSpec = "last",
    labels: Sequence[Label] | Tensor | None = None,
    covariance: bool = True,
    chat: bool = False,
    spans: Mapping[str, Sequence[Span]] | None = None,
    token_budget: int | None = None,
) -> Moments:
    """The mean and covariance of activations, added up in float64 batch by batch.

    The rows are those that `capture` would return, and none of them is kept. Axes
    behind the example (and position) are flattened to one.

    Args:
        model: The model; it is left as it was.
        prompts: Texts, or rows of token ids.
        sites: Which activations; see `interp.sites`.
        positions: Which tokens of each prompt; each is a row of its own.
        labels: The class of each prompt, to get moments for each class too.
        covariance: False for means only.
        chat: Whether each text is a user message to be put into the chat template.
        spans: Named spans, as for `capture`.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        ShapeError: If there is not one label per prompt, or a site has rows of
            different sizes (`pattern`).

    Source:
        Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> stats = moments(model, [[5, 6], [7, 8, 9], [3]], labels=[0, 1, 1])
        >>> stats.mean("resid_post").shape, stats.mean("resid_post.2", label=1).shape
        (torch.Size([3, 32]), torch.Size([32]))
    """
    points = hook_points(model, sites)
    if any(point.side == "pattern" for point in points):
        raise ShapeError(
            "Moments of 'pattern' were asked for.",
            expected="The size of a pattern depends on the length of its prompt.",
            remedy="Use capture.",
        )
    resolved = resolve_positions(
        model, prompts, positions=positions, chat=chat, spans=spans
    )
    classes, class_of = _classes(labels, len(resolved.tokenized))
    sink = _MomentSink(points, class_of, len(classes), covariance=covariance)
    job = Job(
        ids=resolved.tokenized.ids,
        points=points,
        positions=resolved.positions,
        token_budget=checked_budget(token_budget, model),
    )
    run(model, job, sink)
    return sink.moments(classes)


class _Running:
    """Count, mean and scatter of all that was added."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(1, dtype=torch.float64)
        self.scatter: Tensor | None = None

    def add(self, count: int, mean: Tensor, scatter: Tensor | None) -> None:
        """Merge another part; neither part's rows are needed."""
        if count == 0:
            return
        if self.count == 0:
            self.count, self.mean, self.scatter = count, mean, scatter
            return
        total = self.count + count
        step = mean - self.mean
        if scatter is not None and self.scatter is not None:
            between = torch.outer(step, step) * (self.count * count / total)
            self.scatter = self.scatter + scatter + between
        self.mean = self.mean + step * (count / total)
        self.count = total


class _MomentSink:
    """Adds up the rows of each batch once the batch is complete."""

    def __init__(
        self,
        points: Sequence[HookPoint],
        class_of: Sequence[int],
        n_classes: int,
        *,
        covariance: bool,
    ) -> None:
        self._points = points
        self._class_of = torch.tensor(class_of)
        self._covariance = covariance
        self._running = [[_Running() for _ in range(n_classes)] for _ in points]
        self._staged: dict[int, Tensor] = {}
        self._batch: Batch | None = None

    def begin(self, batch: Batch) -> None:
        self._batch = batch
        self._staged = {}

    def put(self, number: int, rows: Tensor, *, is_view: bool) -> None:
        # A view would keep the whole activation alive until the end of the batch.
        self._staged[number] = rows.clone() if is_view else rows

    def commit(self) -> None:
        assert self._batch is not None
        has_slots = self._batch.selection.kind in ("several", "whole")
        # Which rows each class has is the same at every site: worked out on the CPU,
        # so that nobody waits for the device, and moved there once.
        chosen: dict[torch.device, list[Tensor]] = {}
        for number, rows in self._staged.items():
            rows = rows.flatten(0, 1) if has_slots else rows
            if rows.device not in chosen:
                on_cpu = self._rows_of_classes(len(rows), has_slots)
                chosen[rows.device] = [index.to(rows.device) for index in on_cpu]
            self._add(number, rows.flatten(1), chosen[rows.device])
        self._staged = {}

    def _rows_of_classes(self, n_rows: int, has_slots: bool) -> list[Tensor]:
        """The numbers of each class' rows in a batch; padding belongs to none."""
        assert self._batch is not None
        selection = self._batch.selection
        labels = self._class_of[list(self._batch.rows)]
        labels = labels.repeat_interleave(n_rows // len(labels))
        if has_slots and selection.valid is not None:
            labels = labels.masked_fill(~selection.valid.flatten(), -1)
        n_classes = len(self._running[0])
        return [(labels == label).nonzero()[:, 0] for label in range(n_classes)]

    def _add(self, number: int, rows: Tensor, chosen: Sequence[Tensor]) -> None:
        # MPS has no float64.
        device = "cpu" if rows.device.type == "mps" else rows.device
        for index, running in zip(chosen, self._running[number], strict=True):
            if not len(index):
                continue
            part = rows[index].to(device, torch.float64)
            mean = part.mean(0)
            scatter = None
            if self._covariance:
                part -= mean
                scatter = part.T @ part
            running.add(len(part), mean, scatter)

    def moments(self, classes: tuple[Label, ...]) -> Moments:
        centres, scatters = {}, {}
        for point, running in zip(self._points, self._running, strict=True):
            name = point.site.short
            # Out of inference mode: results may be used in training.
            with torch.inference_mode(False):
                centres[name] = torch.stack([r.mean.cpu().clone() for r in running])
                parts = [r.scatter for r in running if r.scatter is not None]
                if self._covariance:
                    scatters[name] = torch.stack([part.cpu().clone() for part in parts])
        return Moments(
            sites=tuple(point.site for point in self._points),
            classes=classes,
            counts=tuple(r.count for r in self._running[0]),
            centres=centres,
            scatters=scatters,
        )


def _classes(
    labels: Sequence[Label] | Tensor | None, n_prompts: int
) -> tuple[tuple[Label, ...], list[int]]:
    """The classes, and the number of each prompt's class."""
    if labels is None:
        return (None,), [0] * n_prompts
    # Arrays and tensors hold numbers that only tolist makes equal to Python's.
    to_list = getattr(labels, "tolist", None)
    values: list[Label] = list(labels) if to_list is None else to_list()
    if len(values) != n_prompts:
        raise ShapeError(
            f"{len(values)} labels for {n_prompts} prompts.",
            expected="There is one label per prompt.",
        )
    classes = tuple(dict.fromkeys(values))
    numbers = {label: number for number, label in enumerate(classes)}
    return classes, [numbers[label] for label in values]
