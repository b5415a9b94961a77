"""Errors between the gateway and its clients."""

from __future__ import annotations

import inspect
import json

import pytest

from mlops import errors
from mlops.errors import DefinitionError, DiskFull, MlopsError, Problem, ServiceError, UsageError
from mlops.gateway.wire import error_document, error_from, service_error

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind)
    and issubclass(kind, MlopsError)
    and kind not in (ServiceError, DefinitionError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_arrives_as_what_it_was(kind: type[MlopsError]) -> None:
    sent = kind("what happened · größer", where="here", next_step="do that")
    got = error_from(json.loads(json.dumps(error_document(sent))))
    assert type(got) is kind
    assert str(got) == str(sent)
    assert got.exit_code == sent.exit_code


def test_a_service_error() -> None:
    got = error_from(error_document(ServiceError("Conflict", "no", status=409)))
    assert isinstance(got, ServiceError)
    assert (got.code, got.status, str(got)) == ("Conflict", 409, "no")


def test_a_definition_error() -> None:
    sent = DefinitionError([Problem("Steps[0]", "a"), Problem("Steps[1]", "b")], next_step="mend")
    got = error_from(error_document(sent))
    assert isinstance(got, DefinitionError)
    assert (got.problems, str(got)) == (sent.problems, str(sent))


@pytest.mark.parametrize("name", ["FromTheFuture", "Sequence", "annotations"])
def test_an_error_of_another_version(name: str) -> None:
    got = error_from({"type": name, "what": "w"})
    assert type(got) is MlopsError


def test_what_an_aws_client_sees() -> None:
    assert service_error(UsageError("wrong")).code == "ValidationException"
    full = service_error(DiskFull("no space", next_step="make some"))
    # A status that botocore does not retry.
    assert (full.code, full.status) == ("DiskFull", 400)
    assert "make some" in str(full)
