"""The base that everything stands on: given, here, pulled, or made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops.errors import ImageUnavailable
from mlops.images.base import DEBIAN_IMAGE, choose_base, mmdebstrap_command
from mlops.images.engine import Progress


def make_root(archive: Path, progress: Progress) -> None:
    archive.write_text("debian")


def no_tool(archive: Path, progress: Progress) -> None:
    raise ImageUnavailable("mmdebstrap is not installed", next_step="install it")


def choose(engine: Any, given: str | None = None, make: Any = make_root) -> tuple[str, str]:
    said: list[str] = []
    base = choose_base(engine, "python:slim", given=given, progress=said.append, make_root=make)
    return base, said[-1] if len(said) == 1 else "\n".join(said)


def test_what_the_engine_has_is_taken_without_asking_a_registry(engine: Any) -> None:
    engine.put("python:slim", "p")
    assert choose(engine) == ("python:slim", "base python:slim: the engine has it")
    assert engine.calls == []


def test_else_it_is_pulled(engine: Any) -> None:
    engine.registry = frozenset({"python:slim"})
    assert choose(engine) == ("python:slim", "base python:slim: pulled")


def test_else_a_debian_is_made_and_the_reason_told(engine: Any) -> None:
    base, said = choose(engine)
    assert base == DEBIAN_IMAGE
    assert engine.find(DEBIAN_IMAGE).layers == ("debian",)
    assert "The image python:slim is not to be had: no such host" in said


def test_the_debian_is_made_once(engine: Any) -> None:
    choose(engine)
    assert choose(engine, make=no_tool)[0] == DEBIAN_IMAGE
    assert engine.calls == [("pull", "python:slim")]


def test_neither_registry_nor_tool_names_both_and_the_next_step(engine: Any) -> None:
    with pytest.raises(ImageUnavailable) as told:
        choose(engine, make=no_tool)
    assert "no such host" in str(told.value)
    assert "mmdebstrap is not installed" in str(told.value)
    assert told.value.next_step == "install it"


def test_a_given_base_is_taken_or_pulled_and_nothing_else(engine: Any) -> None:
    engine.put("mine", "m")
    assert choose(engine, given="mine")[0] == "mine"
    engine.registry = frozenset({"theirs"})
    assert choose(engine, given="theirs")[0] == "theirs"
    with pytest.raises(ImageUnavailable, match="nowhere is not in the engine"):
        choose(engine, given="nowhere")


def test_the_debian_keeps_its_licences_and_no_manuals() -> None:
    command = mmdebstrap_command("mmdebstrap", Path("/tmp/root.tar"))
    assert command[-2:] == ["bookworm", "/tmp/root.tar"]
    assert "--include=python3,python3-pip,ca-certificates" in command
    man = command.index("--dpkgopt=path-exclude=/usr/share/man/*")
    assert command.index("--dpkgopt=path-include=/usr/share/doc/*/copyright") > man
