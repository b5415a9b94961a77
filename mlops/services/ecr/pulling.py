"""Image URIs of jobs, endpoints and functions that name this registry."""

from __future__ import annotations

from mlops.errors import ImageUnavailable
from mlops.image_uri import ImageUri, parse_image_uri
from mlops.ports import ImageSource, RegistryImage
from mlops.services.ecr.contents import REPOSITORY
from mlops.services.ecr.credentials import USER
from mlops.services.ecr.registry import Registry


def image_source(registry: Registry) -> ImageSource:
    """What resolves image URIs in `registry`.

    A URI is its own in the cloud's form, for the account and region of the settings, and in the
    local form with any port, as a gateway may come back on another one. The tag is looked up each
    time, as SageMaker does: what was pushed last is what runs.
    """

    def find(uri: str) -> RegistryImage | None:
        named = parse_image_uri(uri)
        if named is None or not _is_ours(named, registry):
            return None
        image = registry.images.find(named.repository, tag=named.tag, digest=named.digest)
        if image is None:
            reference = named.digest or named.tag
            where = registry.repositories.uri(named.repository)
            raise ImageUnavailable(
                f"The repository {named.repository} of the local registry has no image {reference}",
                where=uri,
                next_step=f"docker tag IMAGE {where}:{named.tag or 'TAG'}, then docker push it",
            )
        password, _ = registry.credentials.password()
        place = registry.repositories.uri(named.repository)
        return RegistryImage(place, image.digest, USER, password)

    return find


def _is_ours(named: ImageUri, registry: Registry) -> bool:
    settings = registry.settings
    if not named.is_local and not named.is_in_cloud(settings.account_id, settings.region):
        return False
    state = registry.contents.state
    return state.get_resource(REPOSITORY, named.repository) is not None
