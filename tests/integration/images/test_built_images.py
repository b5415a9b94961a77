"""The images of `containers/` as they were built: contents, versions, any user, no network."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlops.images import ImageState, image_status
from mlops.settings import Settings

pytestmark = pytest.mark.docker

CONSTRAINTS = Path(__file__).resolve().parents[3] / "constraints.txt"
SHOW_VERSIONS = """
import importlib.metadata as m, json
name = lambda d: d.metadata["Name"].lower().replace("_", "-")
print(json.dumps({name(d): d.version for d in m.distributions()}))
"""


@pytest.fixture(scope="module", params=["processing", "tensorflow"])
def image(request: pytest.FixtureRequest, docker_engine: Any) -> str:
    status = next(s for s in image_status(Settings()) if s.folder == request.param)
    if status.state is ImageState.MISSING:
        if os.environ.get("CI"):
            pytest.fail(f"{status.image} is not built: make images")
        pytest.skip(f"{status.image} is not built: make images")
    return status.image


def run(image: str, *command: str, mount: Path | None = None) -> str:
    volume = ["-v", f"{mount}:/opt/ml"] if mount else []
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--user=12345:12345", *volume, image, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_versions_are_those_of_the_project(image: str) -> None:
    versions = json.loads(run(image, "python", "-c", SHOW_VERSIONS))
    pins: dict[str, set[str]] = {}  # a package may have a pin for each Python
    for name, version in re.findall(
        r"^([\w.-]+)==([^\s;]+)", CONSTRAINTS.read_text(), re.MULTILINE
    ):
        pins.setdefault(name, set()).add(version)
    libraries = ["numpy", "pandas", "scikit-learn", "scipy", "boto3"]
    libraries += ["tensorflow-cpu", "keras", "h5py"] if "tensorflow" in image else []
    assert {n: versions[n] for n in libraries if versions[n] not in pins[n]} == {}


def test_any_user_can_work_without_a_network(image: str) -> None:
    work = (
        "import getpass, os, tempfile, numpy, pandas, sklearn.linear_model;"
        "open(os.path.expanduser('~/x'), 'w').close(); tempfile.mkdtemp();"
        "print(getpass.getuser())"
    )
    assert run(image, "python3", "-c", work) == "sagemaker\n"


def test_nothing_of_the_build_is_left(image: str) -> None:
    assert run(image, "sh", "-c", "ls -d /build /packages 2>/dev/null; :") == ""


def test_sizes(image: str) -> None:
    size = next(s.size for s in image_status(Settings()) if s.image == image)
    assert size < (2.2e9 if "tensorflow" in image else 0.7e9)


LEARNS = {
    "processing": "import sys, sklearn; print(sys.argv[1:], sklearn.__name__)\n",
    "tensorflow": (
        "import sys, tensorflow as tf\n"
        "tf.keras.utils.set_random_seed(1)\n"
        "print(sys.argv[1:], tf.__version__, float(tf.reduce_sum(tf.ones((2, 2)))))\n"
    ),
}


def test_both_images_train(image: str, tmp_path: Path) -> None:
    kind = "tensorflow" if "tensorflow" in image else "processing"
    for name in ("input/config", "code", "output"):
        (tmp_path / name).mkdir(parents=True)
    config = tmp_path / "input" / "config"
    (config / "hyperparameters.json").write_text('{"sagemaker_program": "train.py", "epochs": "1"}')
    (config / "resourceconfig.json").write_text('{"current_host": "a", "hosts": ["a"]}')
    (config / "inputdataconfig.json").write_text("{}")
    (tmp_path / "code" / "train.py").write_text(LEARNS[kind])
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777)
    said = {"processing": "sklearn", "tensorflow": "2.19."}[kind]
    assert run(image, "train", mount=tmp_path).startswith(f"['--epochs', '1'] {said}")
    assert (tmp_path / "output" / "success").exists()
