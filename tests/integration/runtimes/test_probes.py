"""What `mlops doctor` hears of the runtimes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlops.runtimes.docker_engine import Engine
from mlops.runtimes.findings import FindingStatus
from mlops.runtimes.probes import probe_disk, probe_docker, probe_machine, probe_mmdebstrap
from mlops.settings import ImageMapping, Settings

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PATH": "/nowhere"}


def test_each_finding_that_is_not_ok_says_how_to_mend_it(tmp_path: Path) -> None:
    findings = probe_machine(Settings(store=tmp_path / "a/b"), environment=NO_ENGINE)
    assert {"python", "docker", "namespaces", "disk", "mmdebstrap"} <= {
        finding.name for finding in findings
    }
    for finding in findings:
        assert finding.text
        assert finding.status is FindingStatus.OK or finding.mend
    assert list(tmp_path.iterdir()) == []


def test_a_missing_engine_is_lacking_where_processes_can_run(tmp_path: Path) -> None:
    (finding,) = probe_docker(Settings(store=tmp_path), environment=NO_ENGINE)
    linux = sys.platform == "linux"
    assert finding.status is (FindingStatus.LACKING if linux else FindingStatus.BROKEN)
    assert "/nowhere/docker.sock: no such socket" in finding.text


def test_mmdebstrap_is_looked_for_on_the_path() -> None:
    finding = probe_mmdebstrap(environment=NO_ENGINE)
    assert finding.status is FindingStatus.LACKING
    assert "apt-get install mmdebstrap" in (finding.mend or "")


def test_the_disk_is_that_of_the_store(tmp_path: Path) -> None:
    assert str(tmp_path) in probe_disk(tmp_path / "not/yet/there").text


@pytest.mark.docker
def test_an_engine_is_tried_out(tmp_path: Path, docker_engine: Engine, base_image: str) -> None:
    settings = Settings(store=tmp_path / "store", images=(ImageMapping("x", base_image),))
    docker, bridge, overlays = probe_docker(settings)
    assert docker.status is bridge.status is FindingStatus.OK
    assert docker_engine.version in docker.text
    assert docker_engine.gateway_host in bridge.text
    assert overlays.status in (FindingStatus.OK, FindingStatus.LACKING)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.docker
def test_overlays_cannot_be_tried_without_an_image(tmp_path: Path, docker_engine: Engine) -> None:
    settings = Settings(store=tmp_path, images=(ImageMapping("x", "mlops-nothing:local"),))
    overlays = probe_docker(settings)[-1]
    assert overlays.status is FindingStatus.LACKING
    assert overlays.mend == "make images"
