"""Functions on AWS's own runtime client (awslambdaric), as processes and in containers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlops.errors import ServiceError

from .conftest import COUNTING, IMAGE, ROLE, Functions, zip_request


def test_the_first_and_the_next_invocation(functions: Functions) -> None:
    arn = functions.create(COUNTING, Timeout=5, MemorySize=192)
    cold = functions.invoke({"a": "ü"})
    assert cold.error is None
    assert cold.payload["event"] == {"a": "ü"}
    assert (cold.payload["arn"], cold.payload["name"]) == (arn, "f")
    assert cold.payload["memory"] == "192"
    assert 3000 < cold.payload["left"] <= 5000
    warm = functions.invoke({})
    assert (warm.payload["count"], warm.payload["pid"]) == (2, cold.payload["pid"])

    lines = cold.log.splitlines()
    request_id = cold.payload["id"]
    assert lines[0] == "loading"
    assert lines[1] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[2] == "event {'a': 'ü'}"
    assert lines[3] == f"END RequestId: {request_id}"
    assert lines[4].startswith(f"REPORT RequestId: {request_id}\tDuration: ")
    assert "Memory Size: 192 MB\tMax Memory Used: " in lines[4]
    assert "Init Duration: " in lines[4]
    assert "loading" not in warm.log
    assert "Init Duration" not in warm.log


def test_invocations_side_by_side_get_workers_of_their_own(functions: Functions) -> None:
    functions.create(COUNTING, Timeout=10)
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(functions.invoke, [{"sleep": 0.7}] * 3))
    assert (
        len({answer.payload["pid"] for answer in answers})
        + len({answer.payload["id"] for answer in answers})
        >= 4
    )  # containers each count processes from one
    assert [answer.payload["count"] for answer in answers] == [1, 1, 1]
    assert len(functions.servers()) == 3
    assert functions.invoke({}).payload["count"] == 2


def test_a_handler_that_raises_keeps_its_worker(functions: Functions) -> None:
    functions.create("def handler(event, context): raise ValueError('no way')")
    failed = functions.invoke()
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == "ValueError"
    assert failed.payload["errorMessage"] == "no way"
    assert "index.py" in failed.payload["stackTrace"][0]
    assert "[ERROR] ValueError: no way" in failed.log
    assert len(functions.servers()) == 1


def test_a_handler_that_takes_too_long_is_ended(functions: Functions) -> None:
    functions.create(COUNTING, Timeout=1)
    functions.invoke({})
    began = time.monotonic()
    late = functions.invoke({"sleep": 60})
    assert 0.9 < time.monotonic() - began < 4
    assert late.error == "Unhandled"
    assert late.payload["errorType"] == "Sandbox.Timedout"
    assert late.payload["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert "Task timed out after 1.00 seconds" in late.log
    assert "Status: timeout" in late.log
    assert functions.servers() == []
    assert functions.invoke({}).payload["count"] == 1


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import nothing_of_this_name", "Runtime.ImportModuleError"),
        ("import os\ndef handler(event, context): os._exit(3)", "Runtime.ExitError"),
    ],
)
def test_a_function_that_fails_to_start_or_to_stay(
    functions: Functions, source: str, kind: str
) -> None:
    functions.create(source)
    failed = functions.invoke()
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == kind
    assert f"Status: error\tError Type: {kind}" in failed.log
    assert functions.servers() == []


def test_a_handler_that_takes_too_much_memory(functions: Functions) -> None:
    functions.create(
        """
        import time
        def handler(event, context):
            kept = bytearray(400 << 20)
            for at in range(0, len(kept), 4096):
                kept[at] = 1
            time.sleep(5)
        """,
        MemorySize=128,
        Timeout=10,
    )
    failed = functions.invoke()
    assert failed.payload["errorType"] == "Runtime.OutOfMemory"
    assert failed.payload["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert functions.servers() == []


def test_new_code_runs_from_the_next_invocation_on(functions: Functions) -> None:
    functions.create("def handler(event, context): return 1")
    assert functions.invoke().payload == 1
    changed = zip_request("f", "def handler(event, context): return 2")["Code"]
    functions.manager.update_function_code({"FunctionName": "f", **changed})
    assert functions.invoke().payload == 2
    assert len(functions.servers()) == 1


def test_closing_ends_what_runs(functions: Functions) -> None:
    functions.create(COUNTING, Timeout=60)
    functions.invoke({})
    running = threading.Thread(target=functions.invoke, args=({"sleep": 50},))
    running.start()
    time.sleep(0.3)
    began = time.monotonic()
    functions.manager.close()
    running.join(10)
    assert not running.is_alive()
    assert time.monotonic() - began < 10
    assert functions.servers() == []
    assert not list((functions.settings.store / "functions").glob("*/workers/*"))


def test_an_image_that_is_not_there(functions: Functions) -> None:
    uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nobody-made-this:1"
    functions.manager.create_function(
        {"FunctionName": "f", "Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": uri}}
    )
    with pytest.raises(ServiceError, match="nobody-made-this") as caught:
        functions.invoke()
    assert caught.value.code == "InvalidParameterValueException"
    assert functions.servers() == []


@pytest.mark.parametrize("entry", [["/no/such/program"], ["sh", "-c", "exit 7"]])
def test_an_image_that_does_not_start(functions: Functions, entry: list[str]) -> None:
    functions.manager.create_function(
        {
            "FunctionName": "f",
            "Role": ROLE,
            "PackageType": "Image",
            "Code": {"ImageUri": IMAGE},
            "ImageConfig": {"EntryPoint": entry},
        }
    )
    failed = functions.invoke()
    assert failed.error == "Unhandled"
    if entry[0] == "sh":
        assert failed.payload["errorType"] == "Runtime.ExitError"
        assert "exit status 7" in failed.payload["errorMessage"]
    else:
        assert failed.payload["errorType"] == "Runtime.InvalidEntrypoint"
        assert "/no/such/program" in failed.payload["errorMessage"]
    assert functions.servers() == []
