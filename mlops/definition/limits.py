"""Limits and name patterns of the SageMaker service.

Source, unless a line says otherwise: botocore's ``sagemaker`` service model (shape names given).
"""

from __future__ import annotations

import re
from typing import Final

DEFINITION_VERSION: Final = "2020-12-01"
"""The only version that either SDK emits."""

MAX_DEFINITION_BYTES: Final = 1024 * 1024
"""``PipelineDefinition``: at most 1,048,576 long."""

MAX_DEPTH: Final = 100
"""Our own: nesting beyond this is refused, so that no reader runs out of stack. The deepest
definitions that the SDKs emit stay below 20."""

MAX_PARAMETERS: Final = 200
"""``ParameterList``."""

STEP_NAME: Final = re.compile(r"[A-Za-z0-9\-_]{1,64}")
"""``StepName``; the model allows an empty name, the service needs one to refer to."""

PARAMETER_NAME: Final = re.compile(r"[A-Za-z0-9\-_]{1,256}")
"""``PipelineParameterName``."""

MAX_DISPLAY_NAME: Final = 256
"""``StepDisplayName``."""

MAX_DESCRIPTION: Final = 3072
"""``StepDescription``."""
