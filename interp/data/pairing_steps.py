"""Rules that leave statements out one after the other, and what each cost.

Knows no torch.
"""

from collections.abc import Hashable, Mapping, Sequence

from interp.data.pairing_values import Rule
from interp.data.statements import Statements


class Steps:
    """The statements that are left, and what each rule cost.

    Attributes:
        left: The rows that no rule has taken yet.
        costs: Each rule, in the order in which they were asked, with the statements
            that it took.
        statements: The statements of all files.
    """

    def __init__(self, rows: Sequence[int], statements: Statements) -> None:
        self.left = list(rows)
        self.costs: list[tuple[Rule, tuple[str, ...]]] = []
        self.statements = statements

    def keep(self, rule: Rule, rows: list[int]) -> None:
        """Keep some of the statements, in this order; the others are what it cost."""
        kept, prompts = {*rows}, self.statements.prompts
        lost = tuple(prompts[row] for row in self.left if row not in kept)
        self.costs.append((rule, lost))
        self.left = rows

    def keep_common(self, rule: Rule, keys: Mapping[int, Hashable]) -> None:
        """Keep the statements whose key a statement of the other label has too."""
        of = [
            {keys[row] for row in self.left if self.statements.labels[row] == label}
            for label in (True, False)
        ]
        self.keep(rule, [row for row in self.left if keys[row] in of[0] & of[1]])
