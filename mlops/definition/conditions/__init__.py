"""The conditions of a condition step. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.definition.conditions.base import ConditionKind
from mlops.definition.conditions.comparison import OPERATORS, read_comparison
from mlops.definition.conditions.disjunction import read_disjunction
from mlops.definition.conditions.membership import read_membership
from mlops.definition.conditions.negation import read_negation

CONDITIONS: Mapping[str, ConditionKind] = {
    **dict.fromkeys(OPERATORS, read_comparison),
    "In": read_membership,
    "Not": read_negation,
    "Or": read_disjunction,
}
