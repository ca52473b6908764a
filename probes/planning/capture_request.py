"""What `interp capture` is asked for: read alike by the capture and by its plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from pydantic import TypeAdapter

from interp.data import PromptTable, prompts
from interp.models.language_model import LanguageModel
from interp.store.capturing import CapturePlan, plan_capture


SITES = ("resid_post.*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """Which activations of which prompts, as the command line names them.

    Attributes:
        data: The file or data set of the prompts.
        column: The column that holds them; found by its name if not given.
        limit: Only so many, from the first on.
        sites: Which activations; the residual stream behind every block if not given.
        positions: At which tokens.
        store_dtype: How rows are kept; as the model computes them by default.
        chat: Whether each prompt is put into the chat template.
        rows_per_shard: How many rows a shard has; chosen by size by default.
    """

    data: str
    column: str | None
    limit: int | None
    sites: Sequence[str] | None
    positions: str
    store_dtype: str | None
    chat: bool
    rows_per_shard: int | None

    @classmethod
    def of(cls, params: Mapping[str, object]) -> "CaptureRequest":
        """The request in the parameters of `interp capture`, by name."""
        own = {field.name: params[field.name] for field in fields(cls)}
        return TypeAdapter(cls).validate_python(own)

    def table(self) -> PromptTable:
        """All rows of the data; it takes no model to find that they cannot be read.

        Raises:
            DataError: If something cannot be read.
        """
        return prompts(self.data, column=self.column)

    def plan(self, model: LanguageModel, table: PromptTable) -> CapturePlan:
        """What the store of these rows will hold.

        Args:
            model: The model.
            table: What `table` read.

        Raises:
            PromptError: If a prompt cannot be run.
            PositionError: If a prompt lacks a position.
            ConfigError: If a site cannot be stored.
        """
        return plan_capture(
            model,
            table.texts[: self.limit],
            sites=list(self.sites or SITES),
            positions=self.positions,
            dtype=self.store_dtype,
            chat=self.chat,
            columns=[
                {name: value for name, value in row.items() if name != "prompt"}
                for row in table.rows[: self.limit]
            ],
            rows_per_shard=self.rows_per_shard,
        )
