"""The process runtime on machines of other kinds, each in a container of its own.

A plain container under Docker's default seccomp profile is where much CI runs. And a root file
system may have an /opt/ml already, or not even an /opt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import mlops
from mlops.runtimes.docker_engine import Engine
from mlops.runtimes.docker_job import remove_container

pytestmark = pytest.mark.docker

SCRIPT = """
import json, os, sys
from pathlib import Path
from mlops.errors import MlopsError
from mlops.ports import JobSpec, Mount, MountMode
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings

folder = Path("/tmp/try")
for name in ("ml", "source"):
    (folder / name).mkdir(parents=True)
(folder / "source/a").write_text("a")
runtime = ProcessRuntime(Settings(store=folder / "store"))
found = {"isolation": runtime.namespaces.isolation, "reason": runtime.namespaces.reason}

def run(name, script):
    job = JobSpec(name=name, image="python:3", folder=folder / "ml", log=folder / name,
                  command=("sh", "-c", script),
                  mounts=(Mount(folder / "source", "/opt/ml/in", MountMode.COPY_ON_WRITE),))
    try:
        outcome = runtime.start(job).wait()
    except MlopsError as error:
        found[name] = [error.exit_code, str(error)]
    else:
        found[name] = [outcome.exit_status, job.log.read_text()]

run("asks", "cd $SAGEMAKER_BASE_DIR/in && cat a && rm a && echo m > ../model")
run("fixed", "cd /opt/ml/in && cat a && rm a && echo m > /opt/ml/model")
found["source"] = sorted(os.listdir(folder / "source"))
found["model"] = (folder / "ml/model").read_text()
found["opt"] = sorted(os.listdir("/opt")) if os.path.isdir("/opt") else None
found["left"] = sorted(map(str, (folder / "store/runtime").glob("*/*")))
print(json.dumps(found))
"""


def run_in(
    engine: Engine, image: str, *, prepare: str, user: str = "0", options: Sequence[str] = ()
) -> dict[str, Any]:
    """What SCRIPT finds in a container where the shell has done `prepare`."""
    client = engine.client
    root = Path(mlops.__file__).parents[1]
    config = {
        "Image": image,
        "Cmd": ["sh", "-c", f'{prepare} && exec python3 -c "$SCRIPT"'],
        "Env": [f"SCRIPT={SCRIPT}", f"PYTHONPATH={root}", "PYTHONDONTWRITEBYTECODE=1"],
        "User": user,
        "Labels": {"mlops.test": "in-containers"},
        "HostConfig": {
            "Binds": [f"{root}/mlops:{root}/mlops:ro"],
            "SecurityOpt": list(options),
            "CapAdd": ["SYS_ADMIN"] if options else [],
        },
    }
    container = client.create_container_from_config(config)["Id"]
    try:
        client.start(container)
        status = client.wait(container, timeout=120)["StatusCode"]
        said = client.logs(container).decode()
    finally:
        remove_container(engine, container)
    assert status == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.mark.parametrize("user", ["0", "61234:61234"])
def test_a_plain_container_runs_scripts_that_ask_for_their_folder(
    docker_engine: Engine, base_image: str, user: str
) -> None:
    found = run_in(docker_engine, base_image, prepare="true", user=user)
    assert found["isolation"] == "none"
    assert "seccomp" in found["reason"]
    assert found["asks"] == [0, "a"]
    status, message = found["fixed"]
    assert status == 3
    assert "seccomp" in message
    assert (found["source"], found["model"], found["left"]) == (["a"], "m\n", [])


@pytest.mark.parametrize(
    ("prepare", "opt"),
    [
        ("mkdir -p /opt/ml/old /opt/other", ["ml", "other"]),
        ("mkdir -p /opt/other", ["other"]),
        ("rm -rf /opt", None),
    ],
)
def test_opt_ml_appears_whatever_the_root_has(
    docker_engine: Engine, base_image: str, prepare: str, opt: list[str] | None
) -> None:
    options = ["seccomp=unconfined", "apparmor=unconfined"]
    if not any("apparmor" in option for option in docker_engine.info["SecurityOptions"]):
        options.pop()
    found = run_in(docker_engine, base_image, prepare=prepare, options=options)
    if found["isolation"] == "none":
        pytest.skip(f"containers get no namespaces here: {found['reason']}")
    assert found["fixed"] == [0, "a"]
    assert found["asks"][0] != 0  # the variable is not set where there is no need
    assert (found["source"], found["model"]) == (["a"], "m\n")
    assert (found["opt"], found["left"]) == (opt, [])
