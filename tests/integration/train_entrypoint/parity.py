"""Jobs that both our `train` and SageMaker's training toolkit run, and what a script saw of each.

To record what the toolkit gives anew (it needs gcc to install, so it is no part of the project):

    python3.11 -m venv toolkit && toolkit/bin/pip install sagemaker-training
    MLOPS_TRAINING_TOOLKIT=toolkit/bin/python python tests/integration/train_entrypoint/parity.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TRAIN = HERE.parents[2] / "containers" / "shared" / "bin" / "train"
RECORDED = HERE / "recorded"
TOOLKIT = "MLOPS_TRAINING_TOOLKIT"

SHOW = """
import json, os, sys
own = ("SM_", "SAGEMAKER_", "CURRENT_HOST", "TRAINING_JOB")
seen = {
    "arguments": sys.argv,
    "folder": os.getcwd(),
    "environment": {k: v for k, v in os.environ.items() if k.startswith(own)},
    "first_import_folder": os.environ["PYTHONPATH"].split(":")[0],
}
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "seen.json"), "w") as stream:
    json.dump(seen, stream)
"""
BROKEN = """
import sys
print("Epoch 1 of 5")
print("a warning of some library", file=sys.stderr)
def load():
    raise ValueError("row 17 of train.csv has 9 columns, 11 expected")
load()
"""
SHELL = '#!/bin/sh\nexec python3 show.py "$@"\n'

ONE_HOST = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
CHANNEL = {
    "ContentType": "text/csv",
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


def quoted(**hyperparameters: Any) -> dict[str, str]:
    """As the SageMaker SDK sends them: each value is JSON in a string."""
    return {name: json.dumps(value) for name, value in hyperparameters.items()}


CASES: dict[str, dict[str, Any]] = {
    "estimator": {
        "hyperparameters": quoted(
            epochs=40,
            learning_rate=0.002,
            optimizer="adam",
            shuffle=True,
            layers=[64, 32],
            schedule={"b": 2, "a": 1},
            nothing=None,
            k=3,
            sagemaker_program="show.py",
            sagemaker_submit_directory="{base}/source",
            sagemaker_job_name="pipelines-k3j9x0q1m2ab-Train-0123456789",
            sagemaker_region="eu-west-1",
            sagemaker_container_log_level=10,
        ),
        "resources": ONE_HOST,
        "channels": {"train": CHANNEL, "validation": CHANNEL},
        "environment": {"TRAINING_JOB_NAME": "pipelines-k3j9x0q1m2ab-Train-0123456789"},
    },
    "not_json": {
        "hyperparameters": {
            "text": "plain words",
            "path": "s3://bucket/a key/",
            "number": "08",
            "unicode": "größer",
            "sagemaker_program": "show.py",
            "sagemaker_submit_directory": "{base}/source",
        },
        "resources": ONE_HOST,
        "channels": {},
        "environment": {},
    },
    "instance_groups": {
        "hyperparameters": quoted(
            sagemaker_program="show.py",
            sagemaker_submit_directory="{base}/source",
            sagemaker_something_of_a_framework="on",
        ),
        "resources": {
            "current_host": "algo-1",
            "current_instance_type": "ml.m5.xlarge",
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {
                    "instance_group_name": "homogeneousCluster",
                    "instance_type": "ml.m5.xlarge",
                    "hosts": ["algo-1"],
                }
            ],
            "network_interface_name": "eth0",
        },
        "channels": {"training": CHANNEL},
        "environment": {},
    },
    "shell": {
        "hyperparameters": quoted(
            message="it's 5 o'clock; $HOME",
            sagemaker_program="run.sh",
            sagemaker_submit_directory="{base}/source",
        ),
        "resources": ONE_HOST,
        "channels": {},
        "environment": {},
    },
    "failure": {
        "hyperparameters": quoted(
            epochs=5,
            sagemaker_program="broken.py",
            sagemaker_submit_directory="{base}/source",
        ),
        "resources": ONE_HOST,
        "channels": {},
        "environment": {},
    },
}

AS_THE_DLC = """
# What the TensorFlow image's own training module does for one process: errors are captured.
from sagemaker_training import entry_point, environment, mapping
def main():
    env = environment.Environment()
    entry_point.run(env.module_dir, env.user_entry_point, mapping.to_cmd_args(env.hyperparameters),
                    env.to_env_vars(), capture_error=True)
"""


def run_case(name: str, command: list[str], base: Path) -> dict[str, Any]:
    """Run a job below `base`; what its script saw, or what the failure file says, without paths."""
    case = CASES[name]
    config, source = base / "input" / "config", base / "source"
    for folder in (config, source, base / "output" / "data", base / "model", base / "modules"):
        folder.mkdir(parents=True)
    (source / "show.py").write_text(SHOW)
    (source / "broken.py").write_text(BROKEN)
    (source / "run.sh").write_text(SHELL)
    (base / "modules" / "as_the_dlc.py").write_text(AS_THE_DLC)
    for file, key in (
        ("hyperparameters", "hyperparameters"),
        ("resourceconfig", "resources"),
        ("inputdataconfig", "channels"),
    ):
        text = json.dumps(case[key]).replace("{base}", str(base))
        (config / f"{file}.json").write_text(text)
    interpreter = Path(command[0]).parent
    done = subprocess.run(
        command,
        env={
            "PATH": f"{interpreter}:/usr/bin:/bin",
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_TRAINING_MODULE": "as_the_dlc:main",
            "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit: do not wait for the host's name in DNS
            "PYTHONPATH": str(base / "modules"),
            **case["environment"],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seen_file, failure = base / "output" / "data" / "seen.json", base / "output" / "failure"
    seen = json.loads(seen_file.read_text()) if seen_file.exists() else {}
    result = {
        "seen": seen,
        "failure": failure.read_text() if failure.exists() else None,
        "success": (base / "output" / "success").exists(),
        "ended_well": done.returncode == 0,
    }
    return without_places(result, base, command[0])


def without_places(result: dict[str, Any], base: Path, python: str) -> dict[str, Any]:
    """Take out what differs between two places of the same job."""
    environment = result["seen"].get("environment", {})
    environment.pop("SM_STUDIO_LOCAL_MODE", None)
    if environment:
        training_env = json.loads(environment["SM_TRAINING_ENV"])
        training_env["num_cpus"] = environment["SM_NUM_CPUS"] = "{cpus}"
        environment["SM_TRAINING_ENV"] = training_env
    if result["failure"]:  # the toolkit indents every line but the first by a space
        lines = [line.strip() for line in result["failure"].splitlines()]
        result["failure"] = "\n".join(line for line in lines if line.strip("^~ "))
    text = json.dumps(result)
    for place, name in ((str(base), "{base}"), (python, "{python}")):
        text = text.replace(json.dumps(place)[1:-1], name)
    cleaned: dict[str, Any] = json.loads(text)
    return cleaned


def run_ours(name: str, base: Path) -> dict[str, Any]:
    return run_case(name, [sys.executable, str(TRAIN)], base)


def run_toolkit(name: str, base: Path, python: str) -> dict[str, Any]:
    return run_case(name, [python, "-m", "sagemaker_training.cli.train"], base)


def main() -> None:
    RECORDED.mkdir(exist_ok=True)
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            result = run_toolkit(name, Path(folder), os.environ[TOOLKIT])
        text = json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False)
        (RECORDED / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"recorded {name}")


if __name__ == "__main__":
    main()
