"""The step cache: takes over what an earlier run of a step made, where that run was the same.

What makes two runs the same is decided in ``engine.caching``; this looks into the stores. Beyond
the service's rules one thing is asked here: that the outputs are still there, since a person can
delete them by hand.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from mlops.assets import SOURCE_ARCHIVE
from mlops.engine.caching import (
    KEY_ATTRIBUTES,
    cache_key,
    content_attributes,
    key_attributes,
    made_after,
    output_uris,
)
from mlops.errors import StoreError
from mlops.execution.object_names import names_below, objects_in_manifest
from mlops.execution.step_run import CacheAnswer, StepRun
from mlops.ports import CacheEntry, JsonObject, ObjectInfo, ObjectStore, StateStore
from mlops.s3_uri import split_s3_uri
from mlops.settings import CACHE_OFF

CONTENT = "content"


class StoredStepCache:
    """Looks steps up and says what to keep of them. Safe to use from several threads."""

    def __init__(self, state: StateStore, objects: ObjectStore, mode: str) -> None:
        self._state = state
        self._objects = objects
        self._mode = mode

    def look_up(self, run: StepRun, request: JsonObject) -> CacheAnswer:
        """Whether an earlier run made what `request` would make again."""
        config, step = run.step.cache_config, run.step
        if config is None or not config.enabled or step.type not in KEY_ATTRIBUTES:
            return CacheAnswer()
        mode = run.execution.cache_mode or self._mode
        key = self._key(run, request, by_content=self._by_content(mode))
        if mode == CACHE_OFF:
            return CacheAnswer(key)
        entry = self._state.find_cache_entry(
            key, made_after=made_after(config, run.parts.clock.now())
        )
        if entry is None:
            return CacheAnswer(key)
        source = self._state.get_step(entry.execution_arn, entry.step_name)
        if source is None:
            return CacheAnswer(key)
        problem = self._problem(entry, whole=mode == CONTENT)
        if problem is None:
            return CacheAnswer(key, source)
        origin = entry.execution_arn.rpartition("/")[2]
        return CacheAnswer(key, note=f"not cached from {origin}: {problem}")

    def entry(self, run: StepRun, key: str, outputs: JsonObject) -> CacheEntry:
        """What to keep of a step that has succeeded, whose outputs are in the store."""
        return CacheEntry(
            key=key,
            execution_arn=run.execution.arn,
            step_name=run.step.name,
            made_at=run.parts.clock.now(),
            objects={uri: self._there(uri) for uri in output_uris(run.step.type, outputs)},
        )

    def _by_content(self, mode: str) -> bool:
        return CONTENT in (mode, self._mode if mode == CACHE_OFF else mode)

    def _key(self, run: StepRun, request: JsonObject, *, by_content: bool) -> str:
        step = run.step
        attributes: Mapping[str, Any] = key_attributes(step.type, request)
        if by_content:
            attributes = content_attributes(step.type, attributes, self._contents)
        return cache_key(run.execution.pipeline_arn, step.name, step.type, attributes)

    def _problem(self, entry: CacheEntry, *, whole: bool) -> str | None:
        """What has become of the outputs since they were made; None where they are there.

        In content mode they have to be the same (`whole`); the service's own rules do not ask.
        """
        for uri, made in entry.objects.items():
            now = self._there(uri)
            if now["count"] < made["count"]:
                gone = made["count"] - now["count"]
                return f"{gone} of {made['count']} objects at {uri} are no longer there"
            if whole and now["digest"] != made["digest"]:
                return f"what is at {uri} has changed since"
        return None

    def _there(self, uri: str) -> JsonObject:
        found = list(self._below(uri))
        return {"count": len(found), "digest": _digest((each.key, each.etag) for each in found)}

    def _contents(self, uri: str, manifest: bool) -> str:
        """A word for what a job would read at an address, the same wherever it lies."""
        try:
            bucket, key = split_s3_uri(uri)
            if manifest:
                with self._objects.open(bucket, key) as file:
                    bucket, named = objects_in_manifest(file.read().decode(), uri)
                found = {key: self._objects.head(bucket, key) for key, _ in named}
            else:
                found = {info.key: info for info in self._objects.list(bucket, key)}
                named = list(names_below(key, list(found)))
        except (StoreError, UnicodeDecodeError):
            return _digest(iter(()))  # what is missing or wrong is said by the job that wants it
        return _digest((name, self._content(bucket, found[key])) for key, name in named)

    def _content(self, bucket: str, info: ObjectInfo) -> str:
        # A source archive holds the time of its packing: its files are what counts.
        if not info.key.endswith(f"/{SOURCE_ARCHIVE}"):
            return info.etag
        try:
            with self._objects.open(bucket, info.key) as file:
                return _archive_digest(file)
        except (tarfile.TarError, EOFError, OSError):
            return info.etag  # no archive: the job will say so

    def _below(self, uri: str) -> Iterator[ObjectInfo]:
        """The object that an output is, and those below it as a folder; none where it is gone."""
        try:
            bucket, prefix = split_s3_uri(uri)
            folder = prefix if prefix.endswith("/") else f"{prefix}/"
            for info in self._objects.list(bucket, prefix):
                if not prefix or info.key == prefix or info.key.startswith(folder):
                    yield info
        except StoreError:
            return


def _digest(rows: Iterator[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, content in rows:
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def _archive_digest(file: Any) -> str:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        members = {each.name: each for each in archive.getmembers() if each.isfile()}
        contents = ((name, archive.extractfile(members[name])) for name in sorted(members))
        return _digest(
            (name, hashlib.sha256(b"" if content is None else content.read()).hexdigest())
            for name, content in contents
        )
