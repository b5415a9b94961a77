"""What every container of the gateway's learns of where it runs, whatever it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The region, and the gateway as the container reaches it, with the key that it signs with."""

    region: str
    endpoint_url: str
    access_key_id: str = "local"
    secret_access_key: str = field(default="local", repr=False)


def surroundings_at(gateway_url: str, host: str, region: str) -> Surroundings:
    """The surroundings of a container that reaches the gateway's own machine as `host`.

    A gateway that asks for a right key has it in its URL, as the user and the password; without
    one any key will do.
    """
    url = urlsplit(gateway_url)
    if ":" in host:
        host = f"[{host}]"
    netloc = host if url.port is None else f"{host}:{url.port}"
    endpoint = urlunsplit(url._replace(netloc=netloc))
    if url.username and url.password:
        return Surroundings(region, endpoint, url.username, url.password)
    return Surroundings(region, endpoint)


def common_environment(surroundings: Surroundings) -> Mapping[str, str]:
    """The variables that lead the AWS clients in a container to the gateway."""
    return {
        "AWS_REGION": surroundings.region,
        "AWS_DEFAULT_REGION": surroundings.region,
        "AWS_ENDPOINT_URL": surroundings.endpoint_url,
        # The training toolkit (sagemaker-training) reads this one for its own downloads.
        "S3_ENDPOINT_URL": surroundings.endpoint_url,
        # Requests must be signed, mostly by whom does not matter; without these boto3 asks the
        # instance metadata service and waits for its time-outs.
        "AWS_ACCESS_KEY_ID": surroundings.access_key_id,
        "AWS_SECRET_ACCESS_KEY": surroundings.secret_access_key,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
