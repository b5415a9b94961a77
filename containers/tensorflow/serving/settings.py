"""What the environment asks of the server.

    SAGEMAKER_BASE_DIR               the folder that holds model/ (/opt/ml)
    SAGEMAKER_BIND_TO_PORT           the port (8080)
    SAGEMAKER_MODEL_SERVER_WORKERS   processes, each with the model (1); also MODEL_SERVER_WORKERS
    SAGEMAKER_MODEL_SERVER_TIMEOUT   seconds that a client has to send a request, and to read the
                                     answer (60, as long as SageMaker waits for a container)
    MODEL_SERVER_HOST                the address to listen on, where the server shares its
                                     machine's (all of them: in a container, its own)
    MODEL_SERVER_FAST_PATH           1: serve the fast path; the server does not start without it
    MODEL_SERVER_ACCESS_LOG          1: a line for each request

Those that begin with SAGEMAKER are SageMaker's own (sagemaker-inference, parameters.py; the SDK
sets them, and the documentation's own containers read MODEL_SERVER_WORKERS).
SAGEMAKER_SAFE_PORT_RANGE is for servers that listen on further ports: this one does not.
"""

import os
from collections import namedtuple

from serving.problems import StartProblem

Settings = namedtuple("Settings", "model_folder host port workers timeout fast_path access_log")
"""model_folder, host: text; port; workers: processes; timeout: seconds; the others: booleans."""

YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def read_settings(environment=os.environ):
    """The settings. Raises StartProblem for a value that is none."""
    base = environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"
    own = "SAGEMAKER_MODEL_SERVER_WORKERS"
    workers = own if environment.get(own, "").strip() else "MODEL_SERVER_WORKERS"
    return Settings(
        model_folder=os.path.join(base, "model"),
        host=environment.get("MODEL_SERVER_HOST", "").strip(),
        port=whole_number(environment, "SAGEMAKER_BIND_TO_PORT", 8080, 1, 65535),
        workers=whole_number(environment, workers, 1, 1, 256),
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
