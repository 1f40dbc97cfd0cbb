"""Ranges of numbers in settings."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The inclusive range of a number."""

    minimum: float = -math.inf
    maximum: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.minimum <= value <= self.maximum

    def __str__(self) -> str:
        if math.isinf(self.maximum):
            return f"at least {self.minimum}"
        return f"from {self.minimum} to {self.maximum}"


# No machine has room for more. A run folder comes from anywhere, and its numbers must not be able
# to take all memory before anyone looks at them.
Width = Range(minimum=1, maximum=65_536)
Depth = Range(minimum=1, maximum=100)
Length = Range(minimum=1, maximum=1_000_000)
LineBytes = Range(minimum=1, maximum=2**30)
Count = Range(minimum=1, maximum=100_000_000)
Rows = Range(minimum=1, maximum=65_536)
Seed = Range(minimum=0, maximum=2**32 - 1)
