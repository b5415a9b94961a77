"""Container image URIs in their parts, and which of them name the gateway's own registry.

The grammar of names and tags is the OCI distribution specification's, `RepositoryName` that of
botocore's model of ``ecr``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
LONGEST_REPOSITORY = 256
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

_URI = re.compile(r"(?P<registry>[^/@]+)/(?P<name>[^:@]+)(:(?P<tag>[^:@/]+))?(@(?P<digest>.+))?")
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
_CLOUD = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True, slots=True)
class ImageUri:
    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def is_local(self) -> bool:
        """Whether the registry is one of this machine's."""
        return _LOOPBACK.fullmatch(self.registry) is not None

    def is_in_cloud(self, account_id: str, region: str) -> bool:
        """Whether the registry is the one that ECR has for that account in that region."""
        found = _CLOUD.fullmatch(self.registry)
        return found is not None and (found["account"], found["region"]) == (account_id, region)


def parse_image_uri(text: str) -> ImageUri | None:
    """The parts of ``registry/name[:tag][@digest]``; None where the text is nothing of the kind.

    Without tag and digest the tag is ``latest``.
    """
    found = _URI.fullmatch(text)
    if found is None or not is_repository(found["name"]):
        return None
    tag, digest = found["tag"], found["digest"]
    if (tag is not None and not TAG.fullmatch(tag)) or (digest and not DIGEST.fullmatch(digest)):
        return None
    return ImageUri(found["registry"], found["name"], tag or (None if digest else "latest"), digest)


def is_repository(name: str) -> bool:
    return len(name) <= LONGEST_REPOSITORY and REPOSITORY.fullmatch(name) is not None
