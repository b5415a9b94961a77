"""The SageMaker SDK, imported without its side effects on the process.

Importing the SDK (2.257.7) sends the root logger's INFO records to stderr, prints where it looked
for configuration, replaces ``sys.excepthook`` with rich's and warns that version 2 is old; and it
sends telemetry after each call, which can stall for minutes where packets are dropped. All of it
is undone here, in one place. Import the SDK's session classes from this module.

The SDK takes two to four seconds to import (a third of it pandas, a quarter sagemaker_core's
shapes): import this module only where a pipeline is really compiled.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from mlops.errors import EnvironmentLacks
from mlops.sessions.environment import without_account

# Compiling warns of every name that the service gives at run time, and of every class of SDK v2.
_NOISY_LOGGERS = ("sagemaker", "sagemaker.config")


# The import makes a session of its own (sagemaker/jumpstart/constants.py): with the user's profile
# it would fail where that does not exist, without credentials it would look for some in the
# network, and it would read configuration files.
_DURING_IMPORT = {
    "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": os.devnull,
    "SAGEMAKER_USER_CONFIG_OVERRIDE": os.devnull,
}


@contextmanager
def _process_kept() -> Iterator[None]:
    """Keep the process's exception hook and root logger as they are during an import."""
    root = logging.getLogger()
    hook, level, guard = sys.excepthook, root.level, logging.NullHandler()
    root.addHandler(guard)  # logging.basicConfig leaves a root logger with a handler alone
    try:
        yield
    finally:
        root.removeHandler(guard)
        root.setLevel(level)
        sys.excepthook = hook


def _quieten() -> None:
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")  # sagemaker/deprecations.py
    warnings.filterwarnings("ignore", module=r"sagemaker(\.|$)")
    for name in _NOISY_LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:  # a level that somebody chose stays
            logger.setLevel(logging.ERROR)


def _turn_telemetry_off() -> None:
    """Make the SDK's telemetry send nothing, without a configuration file.

    The documented switch, ``TelemetryOptOut`` in a configuration file, makes the SDK validate that
    file by JSON schema at each of 71 look-ups per start: 7 s of CPU.
    """
    from sagemaker.telemetry import telemetry_logging

    if not hasattr(telemetry_logging, "_send_telemetry_request"):
        raise EnvironmentLacks(
            "The telemetry of this version of the SageMaker SDK cannot be turned off",
            where="sagemaker.telemetry.telemetry_logging",
            next_step="install the version that constraints.txt names: make setup",
        )
    telemetry_logging._send_telemetry_request = _send_nothing


def _send_nothing(*_: Any, **__: Any) -> None:
    """Stand in for `sagemaker.telemetry.telemetry_logging._send_telemetry_request`."""


_quieten()
with _process_kept(), without_account(_DURING_IMPORT):
    import_module("sagemaker.experiments")  # configures the root logger, whenever it is imported
    from sagemaker.session import Session
    from sagemaker.workflow.pipeline_context import LocalPipelineSession, PipelineSession

    _turn_telemetry_off()

__all__ = ["LocalPipelineSession", "PipelineSession", "Session"]
