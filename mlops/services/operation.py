"""What an AWS operation is, to the classes that answer some."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from mlops.ports import JsonObject

Handler: TypeAlias = Callable[[JsonObject], JsonObject]
"""From a valid request to an answer. Moments are datetimes, None stands for no member."""

Now: TypeAlias = Callable[[], datetime]
