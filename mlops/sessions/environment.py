"""A process whose AWS clients, whoever makes them, talk to the local gateway.

Existing projects make their own sessions: ``boto3.Session()``, ``sagemaker.session.Session()``,
``PipelineSession()``; and the SDK makes a client of its own beside the session it is given, for
each estimator (sagemaker/interactive_apps), which without credentials looks for some in the
network. While such code runs, environment variables stand in for the account, and one function of
botocore is replaced: the SDK gives STS its public address for an account id and a default
bucket's name (sagemaker/session.py), which no variable can change.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session

from mlops.aws import LOCAL_ACCESS_KEY
from mlops.settings import Settings

NO_ACCOUNT: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": LOCAL_ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": LOCAL_ACCESS_KEY,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials that name nobody; without any, botocore asks the network for some."""

_LOOPBACK = "127.0.0.1,localhost"


@contextmanager
def pointed_at_gateway(endpoint_url: str, settings: Settings) -> Iterator[None]:
    """Point every AWS client made meanwhile, by any code of this process, at `endpoint_url`.

    The environment, boto3's default session and botocore are as before afterwards. The clients
    made meanwhile keep talking to the gateway.
    """
    default_session = boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION = None
    try:
        with without_account(_variables(endpoint_url, settings)), _every_client_to(endpoint_url):
            yield
    finally:
        boto3.DEFAULT_SESSION = default_session


def _variables(endpoint_url: str, settings: Settings) -> dict[str, str]:
    """What says where the gateway is, past any proxy."""
    bypassed = ",".join(filter(None, (os.environ.get("NO_PROXY"), _LOOPBACK)))
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_REGION": settings.region,
        "NO_PROXY": bypassed,
        "no_proxy": bypassed,
    }


@contextmanager
def without_account(variables: Mapping[str, str]) -> Iterator[None]:
    """Set `variables` and `NO_ACCOUNT` and no other AWS_* variable; restore all afterwards."""
    before = dict(os.environ)
    names = {name for name in before if name.startswith("AWS_")} | set(variables) | set(NO_ACCOUNT)
    for name in names:
        os.environ.pop(name, None)
    os.environ.update({**NO_ACCOUNT, **variables})
    try:
        yield
    finally:
        for name in names | {name for name in os.environ if name.startswith("AWS_")}:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


@contextmanager
def _every_client_to(endpoint_url: str) -> Iterator[None]:
    """Give `endpoint_url` to every client: boto3's clients and resources are all made here."""
    create = botocore.session.Session.create_client
    signature = inspect.signature(create)

    def create_here(*arguments: Any, **options: Any) -> Any:
        bound = signature.bind(*arguments, **options)
        bound.arguments["endpoint_url"] = endpoint_url
        return create(*bound.args, **bound.kwargs)

    setattr(botocore.session.Session, "create_client", create_here)  # noqa: B010  # a class of a typed library
    try:
        yield
    finally:
        setattr(botocore.session.Session, "create_client", create)  # noqa: B010
