"""A build's output: what is shown, what a failure says."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from mlops.errors import DiskFull, ImageUnavailable
from mlops.images.engine import BuildStep, follow_build, packed, split_name

STREAM = (
    "Step 1/3 : FROM ${BASE_IMAGE} AS packages\n",
    " ---> 0123456789ab\n",
    "Step 2/3 : RUN python3   /build/install_packages.py\n",
    " ---> Running in aaaaaaaaaaaa\n",
    "Collecting numpy\n",
    "  Downloading numpy-2.1.3-cp311-cp311-manylinux_2_17_x86_64.whl (16.3 MB)\n",
    "Installing collected packages: numpy\n",
    " ---> cafecafecafe\n",
)


def test_steps_and_downloads_are_shown() -> None:
    said: list[str] = []
    steps = follow_build("x:local", iter({"stream": line} for line in STREAM), said.append)
    assert said == [
        "1/3 FROM ${BASE_IMAGE} AS packages",
        "2/3 RUN python3 /build/install_packages.py",
        "    numpy-2.1.3 (16.3 MB)",
        "    installing",
    ]
    assert steps == (
        BuildStep("FROM ${BASE_IMAGE} AS packages", "0123456789ab"),
        BuildStep("RUN python3   /build/install_packages.py", "cafecafecafe"),
    )


def failure(*lines: str, error: str) -> ImageUnavailable:
    events = [*({"stream": f"{line}\n"} for line in lines), {"error": error}]
    with pytest.raises((ImageUnavailable, DiskFull)) as told:
        follow_build("x:local", iter(events), lambda _: None)
    assert told.value.exit_code == 3
    return told.value  # type: ignore[return-value]


def test_a_failure_ends_in_the_last_lines_and_a_next_step() -> None:
    many = [f"line {number}" for number in range(50)]
    told = failure(*many, "ERROR: No matching distribution found for x", error="non-zero code: 1")
    assert "line 49" in str(told)
    assert "line 10" not in str(told)
    assert "index" in (told.next_step or "")


def test_an_untrusted_certificate_names_the_variable() -> None:
    told = failure("SSLError(… CERTIFICATE_VERIFY_FAILED …)", error="non-zero code: 1")
    assert "PIP_CERT" in (told.next_step or "")


def test_a_full_disk() -> None:
    told = failure(error="write /usr/lib/x: no space left on device")
    assert isinstance(told, DiskFull)
    assert "docker system prune" in (told.next_step or "")


def test_the_context_depends_on_names_contents_and_the_x_bit_only(tmp_path: Path) -> None:
    script = tmp_path / "train"
    script.write_text("#!")
    script.chmod(0o744)
    with packed({"bin/train": script, "pip.conf": b"text"}) as first:
        script.touch()
        with packed({"pip.conf": b"text", "bin/train": script}) as second:
            assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=io.BytesIO(first_bytes(script))) as archive:
        assert archive.getmember("train").mode == 0o755


def first_bytes(script: Path) -> bytes:
    with packed({"train": script}) as archive:
        return archive.getvalue()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("python:3.11-slim", ("python", "3.11-slim")),
        ("python", ("python", "latest")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:1", ("host:5000/a/b", "1")),
    ],
)
def test_names(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts
