"""Many clients at once, and kill -9 in their midst: `benchmarks/load.py` in small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import load
from mlops.app import end_servers, stop_gateway
from mlops.gateway.process import ensure_gateway
from mlops.settings import Settings

CLIENTS = 60


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = load.settings_in(tmp_path)
    yield made
    stop_gateway(made)
    end_servers(made)


def test_clients_at_once_get_right_answers_and_no_acknowledged_write_is_lost(
    settings: Settings,
) -> None:
    url = ensure_gateway(settings).url
    load.begin_endpoint(url, settings)
    seen = load.run(url, CLIENTS, 60, kill_after=3, settings=settings)
    assert seen["wrong"] == []
    assert seen["gone"] == CLIENTS
    assert seen["acknowledged"]
    assert seen["groups"]
    assert load.lost_writes(ensure_gateway(settings).url, settings, seen) == []
