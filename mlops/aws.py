"""The one door to boto3: how a session is made, and what is done with S3 outside a job.

Two kinds of session. `gateway_session` talks to the local gateway and to nothing else: it needs
no credentials and looks neither at the user's profiles nor at AWS_* variables, which could name
a real account. `cloud_session` is the user's own, by boto3's ordinary chain.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mlops.assets import Asset
from mlops.errors import DataError, DiskFull, EnvironmentLacks, ServiceError

S3Client: TypeAlias = Any  # boto3 makes its clients' classes at run time

LOCAL_ACCESS_KEY = "mlops-local"
"""The gateway takes any key; it reads only the service's name from a request's signature."""


class GatewaySession(boto3.session.Session):
    """A boto3 session whose every client and resource talks to one endpoint URL."""

    def __init__(self, endpoint_url: str, region: str) -> None:
        self.endpoint_url = endpoint_url
        super().__init__(
            aws_access_key_id=LOCAL_ACCESS_KEY,
            aws_secret_access_key=LOCAL_ACCESS_KEY,
            region_name=region,
            botocore_session=_isolated_core(),
        )

    def client(self, service_name: Any, *args: Any, **options: Any) -> Any:
        return super().client(service_name, *args, **self._here(options))

    def resource(self, service_name: Any, *args: Any, **options: Any) -> Any:
        return super().resource(service_name, *args, **self._here(options))

    def _here(self, options: dict[str, Any]) -> dict[str, Any]:
        # The SDK gives STS its public address; here no address but the gateway's counts.
        return options | {"endpoint_url": self.endpoint_url}


def gateway_session(endpoint_url: str, region: str) -> GatewaySession:
    """A session for the gateway at `endpoint_url`; making it sends nothing."""
    return GatewaySession(endpoint_url, region)


def lambda_client(session: GatewaySession, seconds: int) -> Any:
    """A Lambda client whose invocations may take `seconds`, and are not sent twice."""
    patient = Config(read_timeout=seconds + 30, retries={"total_max_attempts": 1})
    return session.client("lambda", config=patient)


def cloud_session(region: str) -> boto3.session.Session:
    """A session for the user's account, with the credentials that boto3 finds."""
    return boto3.session.Session(region_name=region)


def _isolated_core() -> botocore.session.Session:
    """A botocore session that reads no AWS_* variable, no profile and no proxy variable."""
    variables = {
        name: (config_name, None, default, conversion)
        for name, (config_name, _, default, conversion) in (
            botocore.session.Session.SESSION_VARIABLES.items()
        )
    }
    core = botocore.session.Session(session_vars=variables)
    core.set_config_variable("config_file", os.devnull)
    core.set_config_variable("credentials_file", os.devnull)
    core.set_default_client_config(
        Config(
            proxies={},
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": 3},
        )
    )
    return core


def ensure_bucket(s3: S3Client, bucket: str) -> None:
    """Make `bucket` in the client's region unless the caller owns it already.

    Raises:
        ServiceError, EnvironmentLacks: S3 refuses, or does not answer.
    """
    region = s3.meta.region_name
    place: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        with errors_of(s3):
            s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else place))
    except ServiceError as error:
        if error.code != "BucketAlreadyOwnedByYou":
            raise


def provide(s3: S3Client, buckets: Iterable[str], assets: Iterable[Asset]) -> list[Asset]:
    """Make the buckets that are not there and send the assets that are not; see `upload`."""
    for bucket in buckets:
        ensure_bucket(s3, bucket)
    return upload(s3, assets)


def upload(s3: S3Client, assets: Iterable[Asset]) -> list[Asset]:
    """Send what is not there yet; return what was sent.

    A key holds its content's checksum, so an object that exists is the right one.

    Raises:
        DataError: a file that is to be sent is not here, or its bucket is not there.
        DiskFull, ServiceError, EnvironmentLacks: S3 cannot, refuses, or does not answer.
    """
    new = [asset for asset in assets if not _exists(s3, asset)]
    for asset in new:
        _send(s3, asset)
    return new


def _exists(s3: S3Client, asset: Asset) -> bool:
    try:
        with errors_of(s3):
            s3.head_object(Bucket=asset.bucket, Key=asset.key)
    except ServiceError as error:
        if error.status == 404:
            return False
        raise
    return True


def _send(s3: S3Client, asset: Asset) -> None:
    if isinstance(asset.source, Path) and not asset.source.is_file():
        raise _missing(asset.source, asset.origin)
    source = asset.source
    try:
        stream = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        with stream, errors_of(s3):
            s3.upload_fileobj(stream, asset.bucket, asset.key)
    except ServiceError as error:
        if error.code != "NoSuchBucket":
            raise
        raise DataError(
            f"There is no bucket {asset.bucket}",
            where=asset.uri,
            next_step=f"make it: aws s3 mb s3://{asset.bucket} "
            f"--endpoint-url {s3.meta.endpoint_url}",
        ) from error


def _missing(file: Path, origin: str | None) -> DataError:
    step = "put the file there, or give its path with --data-file"
    return DataError(
        f"The file {file.name} is not here",
        where=str(file),
        next_step=f"{step}; it comes from {origin}" if origin else step,
    )


@contextmanager
def errors_of(client: Any) -> Iterator[None]:
    """Turn the errors of a boto3 client into this project's.

    Raises:
        DiskFull, ServiceError: what the service answered.
        EnvironmentLacks: it did not answer.
    """
    try:
        yield
    except ClientError as error:
        answer = error.response
        code, message = answer["Error"]["Code"], answer["Error"].get("Message", "")
        if code == "InsufficientStorage":  # what the gateway says for a full disk
            raise DiskFull(message) from error
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        raise ServiceError(
            code, f"{message or code} ({error.operation_name})", status=status
        ) from error
    except BotoCoreError as error:
        raise EnvironmentLacks(
            f"{client.meta.service_model.service_id} does not answer: {error}",
            where=client.meta.endpoint_url,
            next_step="`mlops status` tells whether the gateway runs",
        ) from error
