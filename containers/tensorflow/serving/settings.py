"""What the environment asks of the server.

The names are SageMaker's where it has one (sagemaker-inference 1.10, environment.py and
parameters.py: SAGEMAKER_BIND_TO_PORT, SAGEMAKER_MODEL_SERVER_TIMEOUT, MODEL_SERVER_WORKERS;
SAGEMAKER_BASE_DIR is the training toolkit's). SAGEMAKER_SAFE_PORT_RANGE is for servers that listen
on further ports: this one does not.
"""

import os
from collections import namedtuple

from serving.problems import StartProblem

Settings = namedtuple("Settings", "model_folder port workers timeout fast_path access_log")
"""model_folder; port; workers: processes; timeout: seconds; fast_path, access_log: booleans."""

YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def read_settings(environment=os.environ):
    """The settings. Raises StartProblem for a value that is none."""
    base = environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"
    return Settings(
        model_folder=os.path.join(base, "model"),
        port=whole_number(environment, "SAGEMAKER_BIND_TO_PORT", 8080, 1, 65535),
        workers=whole_number(environment, "MODEL_SERVER_WORKERS", 1, 1, 256),
        timeout=whole_number(environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT", 60, 1, 3600),
        fast_path=yes_or_no(environment, "MODEL_SERVER_FAST_PATH"),
        access_log=yes_or_no(environment, "MODEL_SERVER_ACCESS_LOG"),
    )


def whole_number(environment, name, default, least, most):
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise StartProblem(f"{name} is {text!r}: it has to be a number from {least} to {most}")
    return int(text)


def yes_or_no(environment, name):
    text = environment.get(name, "").strip().lower()
    if text not in YES + NO:
        raise StartProblem(f"{name} is {text!r}: it has to be 1 or 0")
    return text in YES
