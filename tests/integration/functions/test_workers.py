"""How workers start, fail, wait and end: as processes, since the runtime makes no difference."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlops.clock import SystemClock
from mlops.errors import ServiceError
from mlops.functions import FunctionManager, pool, worker
from mlops.runtimes.namespaces import Isolation, Namespaces
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore

from .conftest import COUNTING, IMAGE, ROLE, Functions


@pytest.fixture
def runtime_name() -> str:
    return "process"


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


def test_where_namespaces_are_refused(settings: Settings) -> None:
    """In a plain container under the default seccomp profile: neither a zip nor an image needs
    an /opt/ml of its own."""
    settings.store.mkdir(parents=True)
    state = SqliteStateStore(settings.store / "state.db")
    runtime = ProcessRuntime(settings, namespaces=Namespaces(Isolation.NONE, "seccomp"))
    objects = FileObjectStore(settings.store / "objects")
    manager = FunctionManager(
        objects, state, runtime, SystemClock(), settings, lambda: "http://127.0.0.1:9"
    )
    functions = Functions(manager, settings, runtime)
    functions.create(COUNTING)
    assert functions.invoke({}).payload["count"] == 1
    assert functions.invoke({}).payload["count"] == 2
    image = {"PackageType": "Image", "Code": {"ImageUri": IMAGE}}
    manager.create_function({"FunctionName": "test", "Role": ROLE, **image})
    assert functions.invoke({}, "test").payload["errorType"] == "EventProblem"
    manager.close()
    assert functions.servers() == []
    state.close()
