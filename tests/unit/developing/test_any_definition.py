"""Whatever definition comes in: findings, never an exception; and a plan wherever it is valid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops.clock import SystemClock
from mlops.developing.findings import Severity
from mlops.developing.validation import check_definition
from mlops.errors import ParameterError
from mlops.execution.planning import Planner
from mlops.execution.step_run import NoRegistry
from mlops.runtimes.fake import FakeRuntime
from mlops.settings import Settings
from mlops.stores.objects.memory import MemoryObjectStore
from mlops.stores.state import SqliteStateStore

patient = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""The machine may be busy with other things."""

FIXTURES = sorted((Path(__file__).parents[2] / "data" / "definitions").glob("*.json"))
WORDS = st.sampled_from(["Steps.ETL.X", "Parameters.P", "s3://b/k", "s3://", "Outputs", "Name"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS, inner, max_size=3)
        | st.fixed_dictionaries({"Get": WORDS})
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    state = SqliteStateStore(tmp_path_factory.mktemp("plans") / "state.db")
    objects = MemoryObjectStore()
    yield Planner(state, objects, FakeRuntime(), NoRegistry(), SystemClock(), Settings())
    state.close()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@patient
@given(st.sampled_from(FIXTURES), st.randoms(use_true_random=False), VALUES)
def test_a_real_definition_with_one_value_replaced(
    planner: Planner, file: Path, random: Any, other: Any
) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))
    *path, last = random.choice([place for place in places(document) if place])
    target = document
    for key in path:
        target = target[key]
    target[last] = other
    text = json.dumps(document)
    found = check_definition(text, buckets=lambda: (), image_refusal=lambda image: None)
    assert all(each.path and each.message for each in found)
    if any(each.severity is Severity.ERROR and not each.only_here for each in found):
        return
    if any(each.path.endswith("Type") for each in found):
        return  # a step type that cannot run here
    try:
        planned = planner.plan("p", text, {})
    except ParameterError:
        return  # one that has no default now
    for step in planned:
        waves = {each.name: each.wave for each in planned}
        assert all(waves[before] < step.wave for before in step.after)
