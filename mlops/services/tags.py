"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mlops.ports import JsonObject, StateStore
from mlops.services.arns import resource_name
from mlops.services.operation import Handler
from mlops.services.paging import page
from mlops.services.validation import invalid

MAXIMUM_TAGS = 50  # for one resource, by the service model (TagList)


class TagOperations:
    def __init__(self, state: StateStore) -> None:
        self._state = state

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "AddTags": self.add_tags,
            "ListTags": self.list_tags,
            "DeleteTags": self.delete_tags,
        }

    def add_tags(self, request: JsonObject) -> JsonObject:
        arn = self._existing(request["ResourceArn"])
        store_tags(self._state, arn, request["Tags"])
        return {"Tags": _as_list(self._state.get_tags(arn))}

    def list_tags(self, request: JsonObject) -> JsonObject:
        arn = self._existing(request["ResourceArn"])
        tags, token = page(_as_list(self._state.get_tags(arn)), request, lambda tag: tag["Key"])
        return {"Tags": tags, "NextToken": token}

    def delete_tags(self, request: JsonObject) -> JsonObject:
        arn = self._existing(request["ResourceArn"])
        self._state.delete_tags(arn, request["TagKeys"])
        return {}

    def _existing(self, arn: str) -> str:
        """The ARN of a thing that is here and can be tagged."""
        kind = arn.split(":", 5)[-1].partition("/")[0]
        name = resource_name(arn)
        stored: dict[str, Callable[[], object]] = {
            "pipeline": lambda: self._state.get_pipeline(name),
            "model": lambda: self._state.get_model(name),
            "model-package-group": lambda: self._state.get_model_package_group(name),
            "model-package": lambda: self._state.get_model_package(arn),
            "processing-job": lambda: self._job("Processing", kind, name),
            "training-job": lambda: self._job("Training", kind, name),
            "transform-job": lambda: self._job("Transform", kind, name),
            "endpoint-config": lambda: self._state.get_resource("endpoint-config", name),
            "endpoint": lambda: self._state.get_resource("endpoint", name),
        }
        find = stored.get(kind)
        if find is None or find() is None:
            raise invalid(f"The resource {arn} does not exist.")
        return arn

    def _job(self, step_type: str, kind: str, name: str) -> object:
        """Somebody's own job, or one of a step."""
        found = self._state.get_resource(kind, name)
        return found or self._state.find_step_by_job(step_type, name)


def store_tags(state: StateStore, arn: str, tags: Sequence[JsonObject]) -> None:
    """Set `tags` on a resource.

    Raises:
        ServiceError: ``ValidationException``: a key twice, a reserved key, or too many tags.
    """
    given = check_tags(tags)
    with state.transaction():
        if len({**state.get_tags(arn), **given}) > MAXIMUM_TAGS:
            raise invalid(f"A resource may have {MAXIMUM_TAGS} tags at most: {arn}")
        state.set_tags(arn, given)


def check_tags(tags: Sequence[JsonObject]) -> dict[str, str]:
    """The values by their keys.

    Raises:
        ServiceError: ``ValidationException``: a key twice, or a reserved key.
    """
    given = {tag["Key"]: tag["Value"] for tag in tags}
    if len(given) < len(tags):
        raise invalid("Duplicate tag keys found. Please note that tag keys are case sensitive.")
    reserved = [key for key in given if key.lower().startswith("aws:")]
    if reserved:
        raise invalid(f"The tag key {reserved[0]} is reserved: keys may not start with aws:")
    return given


def forget_tags(state: StateStore, arn: str) -> None:
    state.delete_tags(arn, list(state.get_tags(arn)))


def _as_list(tags: Mapping[str, str]) -> list[JsonObject]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
