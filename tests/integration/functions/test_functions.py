"""Functions on AWS's own runtime client (awslambdaric), as processes and in containers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.functions import pool, worker

from .conftest import IMAGE, ROLE, Functions, zip_request

COUNTING = """
import os, time
print("loading")
count = 0

def handler(event, context):
    global count
    count += 1
    print("event", event)
    time.sleep((event or {}).get("sleep", 0))
    return {"count": count, "event": event, "pid": os.getpid(),
            "left": context.get_remaining_time_in_millis(),
            "arn": context.invoked_function_arn, "name": context.function_name,
            "memory": context.memory_limit_in_mb, "id": context.aws_request_id}
"""


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


def test_too_many_at_once(functions: Functions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_WORKERS", 1)
    functions.create(COUNTING, Timeout=10)
    functions.invoke({})
    busy = threading.Thread(target=functions.invoke, args=({"sleep": 1.0},))
    busy.start()
    time.sleep(0.3)
    with pytest.raises(ServiceError, match="Rate Exceeded") as caught:
        functions.invoke({})
    assert (caught.value.code, caught.value.status) == ("TooManyRequestsException", 429)
    busy.join()


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


def test_a_handler_that_returns_what_is_no_json(functions: Functions) -> None:
    functions.create("def handler(event, context): return object()")
    failed = functions.invoke()
    assert failed.payload["errorType"] == "Runtime.MarshalError"
    assert functions.invoke().error == "Unhandled"


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("os._exit(3)", "exit status 3"),
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 11)", "signal: segmentation fault"),
    ],
)
def test_a_handler_that_exits(functions: Functions, ending: str, told: str) -> None:
    functions.create(f"import os\ndef handler(event, context): {ending}")
    failed = functions.invoke()
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == "Runtime.ExitError"
    assert told in failed.payload["errorMessage"]
    assert "Status: error\tError Type: Runtime.ExitError" in failed.log
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


def test_an_answer_that_is_too_large(functions: Functions) -> None:
    functions.create("def handler(event, context): return 'x' * (7 << 20)", Timeout=10)
    failed = functions.invoke()
    assert failed.payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert functions.invoke().payload["errorType"] == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize(
    ("source", "handler", "kind"),
    [
        ("import nothing_of_this_name", "index.handler", "Runtime.ImportModuleError"),
        ("def handler(event", "index.handler", "Runtime.UserCodeSyntaxError"),
        ("x = 1", "index.handler", "Runtime.HandlerNotFound"),
        ("x = 1", "nonsense", "Runtime.MalformedHandlerName"),
        ("raise KeyError('at the start')", "index.handler", "KeyError"),
        ("import os; os._exit(1)", "index.handler", "Runtime.ExitError"),
    ],
)
def test_a_function_that_cannot_be_loaded(
    functions: Functions, source: str, handler: str, kind: str
) -> None:
    functions.create(source, Handler=handler)
    failed = functions.invoke()
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == kind
    assert f"Phase: invoke\tStatus: error\tError Type: {kind}" in failed.log
    assert functions.servers() == []


def test_a_start_that_takes_long_is_begun_anew_in_the_invocations_time(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "INIT_SECONDS", 0.5)
    functions.create("import time; time.sleep(1.0)\n" + COUNTING, Timeout=5)
    assert functions.invoke({}).payload["count"] == 1
    logs = sorted(functions.manager.folders("f").logs.iterdir())
    assert "Phase: init\tStatus: timeout" in logs[0].read_text()
    functions.manager.update_function_configuration({"FunctionName": "f", "Timeout": 1})
    assert functions.invoke({}).payload["errorType"] == "Sandbox.Timedout"
    assert functions.servers() == []


def test_new_code_runs_from_the_next_invocation_on(functions: Functions) -> None:
    functions.create("def handler(event, context): return 1")
    assert functions.invoke().payload == 1
    changed = zip_request("f", "def handler(event, context): return 2")["Code"]
    functions.manager.update_function_code({"FunctionName": "f", **changed})
    assert functions.invoke().payload == 2
    assert len(functions.servers()) == 1


def test_a_change_lets_a_running_invocation_end(functions: Functions) -> None:
    functions.create(COUNTING, Timeout=10)
    functions.invoke({})
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(functions.invoke, {"sleep": 1.0})
        time.sleep(0.3)
        functions.manager.update_function_configuration({"FunctionName": "f", "Timeout": 9})
        assert running.result(10).payload["count"] == 2
    assert functions.servers() == []


def test_a_worker_that_died_idle_costs_no_invocation(functions: Functions) -> None:
    functions.create(
        """
        import os, threading
        def handler(event, context):
            threading.Timer(0.2, os._exit, (1,)).start()
            return "ok"
        """
    )
    assert functions.invoke().payload == "ok"
    time.sleep(0.8)
    assert functions.invoke().payload == "ok"


def test_deleting_ends_the_workers(functions: Functions) -> None:
    functions.create(COUNTING)
    functions.invoke({})
    functions.manager.delete_function("f")
    assert functions.servers() == []
    with pytest.raises(ServiceError, match="Function not found"):
        functions.invoke({})
    functions.create(COUNTING)
    assert functions.invoke({}).payload["count"] == 1


def test_an_idle_worker_goes_after_a_while(
    open_functions: Callable[..., Functions],
) -> None:
    functions = open_functions(idle_seconds=0.4)
    functions.create(COUNTING)
    functions.invoke({})
    deadline = time.monotonic() + 10
    while functions.servers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert functions.servers() == []


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


def test_an_event_is_run_and_counted_while_it_runs(functions: Functions) -> None:
    functions.create(COUNTING, Timeout=10)
    request = {
        "FunctionName": "f",
        "InvocationType": "Event",
        "Payload": b'{"sleep": 0.5}',
    }
    assert functions.manager.invoke(request) == {"StatusCode": 202, "Payload": b""}
    assert functions.manager.up() == 1
    deadline = time.monotonic() + 10
    while functions.manager.up() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert functions.invoke({}).payload["count"] == 2


def test_a_dry_run_runs_nothing(functions: Functions) -> None:
    functions.create(COUNTING)
    answer = functions.manager.invoke({"FunctionName": "f", "InvocationType": "DryRun"})
    assert answer["StatusCode"] == 204
    assert functions.servers() == []


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


def test_the_time_an_invocation_costs(functions: Functions) -> None:
    """No figure (see benchmarks/functions.py): only that nothing waits for a clock."""
    functions.create("def handler(event, context): return 1")
    functions.invoke()
    request: dict[str, Any] = {"FunctionName": "f", "Payload": b"{}"}
    times = []
    for _ in range(50):
        began = time.monotonic()
        functions.manager.invoke(request)
        times.append(time.monotonic() - began)
    assert sorted(times)[25] < 0.05
