"""The images of repositories: manifests and the tags that point at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops.errors import NoSuchBlob, ServiceError
from mlops.image_uri import DIGEST, TAG
from mlops.ports import Clock, JsonObject, ResourceRecord
from mlops.services.ecr.contents import Contents, images_of, tags_of
from mlops.services.ecr.failures import invalid, no_image
from mlops.services.ecr.manifest import Manifest, parse_manifest
from mlops.services.ecr.repositories import Repositories
from mlops.services.ecr.rules import is_immutable

_PULLS_RECORDED_EVERY = timedelta(days=1)  # ImageDetail.lastRecordedPullTime in botocore's model


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a repository; `document` is what `_document` keeps of its manifest."""

    repository: str
    digest: str
    tags: Sequence[str]
    pushed_at: datetime
    document: JsonObject

    @property
    def media_type(self) -> str:
        return str(self.document["mediaType"])


class ImageFailure(Exception):
    """Why one image of a batch could not be served: ``ImageFailureCode`` and its reason."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class Images:
    """Thread-safe. Every method raises ``RepositoryNotFoundException`` for an unknown one."""

    def __init__(self, contents: Contents, repositories: Repositories, clock: Clock) -> None:
        self._contents = contents
        self._state = contents.state
        self._repositories = repositories
        self._clock = clock

    # --- reading ---

    def list(self, repository: str) -> Sequence[Image]:
        """Every image, in the order of their pushes."""
        self._repositories.get(repository)
        tags: dict[str, list[str]] = {}
        for tag in self._state.list_resources(tags_of(repository)):
            tags.setdefault(tag.document["digest"], []).append(tag.name)
        records = self._state.list_resources(images_of(repository))
        return [_image(repository, record, tags.get(record.name, [])) for record in records]

    def tags(self, repository: str) -> Mapping[str, str]:
        """Digests by the tags that point at them."""
        self._repositories.get(repository)
        records = self._state.list_resources(tags_of(repository))
        return {record.name: record.document["digest"] for record in records}

    def find(
        self, repository: str, *, tag: str | None = None, digest: str | None = None
    ) -> Image | None:
        """The image of a tag, of a digest, or of both where they are the same image's."""
        self._repositories.get(repository)
        if tag is not None:
            pointer = self._state.get_resource(tags_of(repository), tag)
            if pointer is None or digest not in (None, pointer.document["digest"]):
                return None
            digest = pointer.document["digest"]
        record = self._state.get_resource(images_of(repository), digest or "")
        if record is None:
            return None
        tags = [tag for tag, of in self.tags(repository).items() if of == record.name]
        return _image(repository, record, tags)

    def get(self, repository: str, identity: Mapping[str, str]) -> Image:
        """The image of an ImageIdentifier.

        Raises:
            ImageFailure: there is none, or the identifier is no sound one.
        """
        tag, digest = identity.get("imageTag"), identity.get("imageDigest")
        if tag is None and digest is None:
            raise ImageFailure(
                "MissingDigestAndTag", "Invalid request parameters: both tag and digest are missing"
            )
        if digest is not None and not DIGEST.fullmatch(digest):
            raise ImageFailure(
                "InvalidImageDigest", "Invalid request parameters: image digest is no sha256"
            )
        found = self.find(repository, tag=tag, digest=digest)
        if found is not None:
            return found
        if tag is not None and digest is not None and self.find(repository, tag=tag) is not None:
            raise ImageFailure(
                "ImageTagDoesNotMatchDigest", "The image tag is that of another image"
            )
        raise _not_found()

    def require(self, repository: str, identity: Mapping[str, str]) -> Image:
        """As `get`.

        Raises:
            ServiceError: ``ImageNotFoundException``.
        """
        try:
            return self.get(repository, identity)
        except ImageFailure as error:
            shown = ", ".join(f"{name}:'{value}'" for name, value in identity.items())
            raise no_image(repository, self._repositories.registry_id, "{" + shown + "}") from error

    def manifest(self, image: Image) -> bytes:
        """The manifest as it was pushed.

        Raises:
            ImageFailure: the image has been deleted meanwhile.
        """
        try:
            with self._contents.blobs.open(image.digest) as file:
                return file.read()
        except NoSuchBlob as error:
            raise _not_found() from error

    def record_pull(self, image: Image) -> None:
        """Note that an image is being pulled, where the last note is old."""
        pulled, now = image.document.get("pulledAt"), self._clock.now()
        if pulled is not None and now - datetime.fromisoformat(pulled) < _PULLS_RECORDED_EVERY:
            return
        with self._contents.lock:
            record = self._state.get_resource(images_of(image.repository), image.digest)
            if record is not None:
                document = {**record.document, "pulledAt": now.isoformat()}
                self._contents.put(record.kind, record.name, now, document)

    # --- pushing ---

    def put(
        self,
        repository: str,
        data: bytes,
        *,
        media_type: str | None = None,
        tag: str | None = None,
        digest: str | None = None,
    ) -> tuple[Image, bool]:
        """Keep a manifest, point a tag at it; the image, and whether anything has changed.

        Raises:
            ServiceError: as PutImage answers; the manifest and what it refers to decide.
        """
        if tag is not None and not TAG.fullmatch(tag):
            raise invalid(
                "Invalid parameter at 'imageTag' failed to satisfy constraint: "
                f"'must satisfy regular expression {TAG.pattern}'"
            )
        manifest = parse_manifest(data, media_type)
        if digest not in (None, manifest.digest):
            raise ServiceError(
                "ImageDigestDoesNotMatchException",
                f"The image's digest is {manifest.digest}, not {digest}",
            )
        with self._contents.lock:
            settings = self._repositories.get(repository).document
            self._check_references(repository, manifest)
            present = self._state.get_resource(images_of(repository), manifest.digest)
            former = self._state.get_resource(tags_of(repository), tag) if tag else None
            moves = tag is not None and (
                former is None or former.document["digest"] != manifest.digest
            )
            if tag and former and moves and _is_fixed(tag, settings):
                raise ServiceError(
                    "ImageTagAlreadyExistsException",
                    f"The image tag '{tag}' already exists in the '{repository}' repository and "
                    "cannot be overwritten because the tag is immutable.",
                )
            self._contents.blobs.put(data)
            self._record(repository, manifest, tag if moves else None, is_new=present is None)
            found = self.find(repository, digest=manifest.digest)
        assert found is not None  # its record has just been written, and nobody could delete it
        return found, moves or present is None

    def _record(
        self, repository: str, manifest: Manifest, tag: str | None, *, is_new: bool
    ) -> None:
        now = self._clock.now()
        with self._state.transaction():
            if is_new:
                self._contents.put(images_of(repository), manifest.digest, now, _document(manifest))
            if tag is not None:
                self._contents.put(tags_of(repository), tag, now, {"digest": manifest.digest})

    def _check_references(self, repository: str, manifest: Manifest) -> None:
        has = self._contents.has_layer
        missing = [digest for digest in manifest.layers if not has(repository, digest)]
        if missing:
            raise ServiceError(
                "LayersNotFoundException",
                f"Layers with digests '[{', '.join(missing)}]' required for pushing image into "
                f"repository with name '{repository}' in the registry with id "
                f"'{self._repositories.registry_id}' do not exist",
            )
        images = images_of(repository)
        lost = [each for each in manifest.manifests if not self._state.get_resource(images, each)]
        if lost:
            raise ServiceError(
                "ReferencedImagesNotFoundException",
                f"Images with digests '[{', '.join(lost)}]' required for pushing image into "
                f"repository with name '{repository}' in the registry with id "
                f"'{self._repositories.registry_id}' do not exist",
            )

    # --- deleting ---

    def delete(self, repository: str, identity: Mapping[str, str]) -> Sequence[JsonObject]:
        """Delete an image by its digest, or a tag, and its image with the last one.

        Returns the ImageIdentifiers of what has gone.

        Raises:
            ImageFailure: it stays.
        """
        with self._contents.lock:
            image = self.get(repository, identity)
            tag = identity.get("imageTag")
            if tag is not None and len(image.tags) > 1:
                self._state.delete_resource(tags_of(repository), tag)
                return [_identifier(image.digest, tag)]
            self._check_unlisted(repository, image)
            layers = list(image.document["layers"])
            with self._state.transaction():
                for each in image.tags:
                    self._state.delete_resource(tags_of(repository), each)
                self._state.delete_resource(images_of(repository), image.digest)
                self._contents.release_layers(repository, layers)
            self._contents.delete_unused([image.digest, *layers])
        return [_identifier(image.digest, each) for each in (*image.tags,) or (None,)]

    def _check_unlisted(self, repository: str, image: Image) -> None:
        for other in self._state.list_resources(images_of(repository)):
            if image.digest in other.document["manifests"]:
                raise ImageFailure(
                    "ImageReferencedByManifestList",
                    f"Requested image referenced by manifest list: [{other.name}]",
                )


def _not_found() -> ImageFailure:
    return ImageFailure("ImageNotFound", "Requested image not found")


def _document(manifest: Manifest) -> JsonObject:
    return {
        "mediaType": manifest.media_type,
        "layers": dict(manifest.layers),
        "size": manifest.size,
        "manifestSize": manifest.length,
        "manifests": list(manifest.manifests),
        "artifactType": manifest.artifact_type,
        "subject": manifest.subject,
        "annotations": dict(manifest.annotations),
    }


def _image(repository: str, record: ResourceRecord, tags: Sequence[str]) -> Image:
    return Image(repository, record.name, sorted(tags), record.created_at, record.document)


def _identifier(digest: str, tag: str | None) -> JsonObject:
    return {"imageDigest": digest, "imageTag": tag}


def _is_fixed(tag: str, settings: JsonObject) -> bool:
    filters = settings["imageTagMutabilityExclusionFilters"]
    return is_immutable(tag, settings["imageTagMutability"], filters)
