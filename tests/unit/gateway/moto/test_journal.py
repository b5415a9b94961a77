"""What was written stands there in its order, until what it was written to has ended."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.errors import ServiceError, StoreError
from mlops.gateway.moto.journal import FILE, SEVERAL, Entry, Journal, Limits, Wire

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789123, tzinfo=UTC)


def entry(body: bytes = b"{}", scope: str = "t", service: str = "dynamodb") -> Entry:
    wire = Wire("POST", "/", "", (("Content-Type", "x"),), body)
    return Entry(service, "PutItem", scope, MOMENT, 2**255 + 1, wire)


def test_what_is_appended_is_read_by_the_next_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert not journal.has("dynamodb")
    assert not (tmp_path / FILE).exists()
    written = [entry(bytes([number])) for number in range(3)]
    for each in written:
        journal.append(each)
    following = Journal(tmp_path)  # the other may have been killed
    assert list(following.entries()) == written
    assert following.has("dynamodb")
    assert following.has("dynamodb", "t")
    assert not following.has("dynamodb", "u")
    assert not following.has("ssm")
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    following.clear()
    assert list(journal.entries()) == []
    journal.close()
    following.close()


def test_what_was_written_to_a_thing_goes_with_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    kept = [entry(b"u", "u"), entry(b"s", "t", "kinesis")]
    for each in (entry(), *kept, entry()):
        journal.append(each)
    assert journal.forget_thing("dynamodb", "t")
    assert list(journal.entries()) == kept
    several = entry(b"several", SEVERAL)
    journal.append(several)
    assert not journal.forget_thing("dynamodb", "u")
    assert list(journal.entries()) == [*kept, several]
    journal.close()


def test_there_is_an_end_to_what_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Limits(requests=2))
    for _ in range(2):
        journal.check_room()
        journal.append(entry())
    with pytest.raises(ServiceError, match="keeps 2 requests") as refused:
        journal.check_room()
    assert refused.value.code == "LimitExceededException"
    assert journal.forget_thing("dynamodb", "t")
    journal.check_room()
    journal.close()


@pytest.mark.parametrize("newer", [True, False])
def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path: Path, newer: bool) -> None:
    path = tmp_path / FILE
    if newer:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        path.write_bytes(b"no database" * 1000)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="cannot be read"):
        Journal(tmp_path).has("ssm")
    assert path.read_bytes() == before


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    with pytest.raises(StoreError, match="leaving"):
        journal.append(entry())
