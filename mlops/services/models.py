"""CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlops.ports import JsonObject, ModelRecord, StateStore
from mlops.services.arns import Arns
from mlops.services.operation import Handler, Now
from mlops.services.paging import between, ordered, page
from mlops.services.tags import forget_tags, store_tags
from mlops.services.validation import invalid, missing


class ModelOperations:
    def __init__(self, state: StateStore, arns: Arns, now: Now) -> None:
        self._state = state
        self._arns = arns
        self._now = now

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateModel": self.create,
            "DescribeModel": self.describe,
            "ListModels": self.list_models,
            "DeleteModel": self.delete,
        }

    def create(self, request: JsonObject) -> JsonObject:
        _check_containers(request)
        self._check_packages(request)
        name = request["ModelName"]
        model = ModelRecord(
            name=name, arn=self._arns.model(name), created_at=self._now(), request=request
        )
        with self._state.transaction():
            if self._state.get_model(name) is not None:
                # SDK v2, session.py, looks for these words.
                raise invalid(f'Cannot create already existing model "{model.arn}".')
            self._state.put_model(model)
            store_tags(self._state, model.arn, request.get("Tags", []))
        return {"ModelArn": model.arn}

    def _check_packages(self, request: JsonObject) -> None:
        """A model is made of packages that are approved, and of no other."""
        for container in containers_of(request):
            name = container.get("ModelPackageName")
            if name is None:
                continue
            package = self._state.get_model_package(name)
            if package is None:
                raise invalid(f"Could not find model package {name}.")
            if package.approval_status != "Approved":
                raise invalid(
                    f"The model package {name} is {package.approval_status}: only an Approved one "
                    "can be deployed"
                )

    def describe(self, request: JsonObject) -> JsonObject:
        return self.description(self._find("DescribeModel", request["ModelName"]))

    def description(self, model: ModelRecord) -> JsonObject:
        asked = {name: value for name, value in model.request.items() if name != "Tags"}
        return {
            "EnableNetworkIsolation": False,
            **asked,
            "ModelArn": model.arn,
            "CreationTime": model.created_at,
        }

    def list_models(self, request: JsonObject) -> JsonObject:
        part = request.get("NameContains", "")
        found = [
            model
            for model in self._state.list_models()
            if part in model.name
            and between(
                model.created_at,
                request.get("CreationTimeAfter"),
                request.get("CreationTimeBefore"),
            )
        ]
        by: dict[str, Callable[[Any], Any]] = {"Name": lambda model: model.name}
        rows, token = page(
            ordered(found, request, by, newest_first=True), request, lambda model: model.name
        )
        return {
            "Models": [
                {"ModelName": row.name, "ModelArn": row.arn, "CreationTime": row.created_at}
                for row in rows
            ],
            "NextToken": token,
        }

    def delete(self, request: JsonObject) -> JsonObject:
        with self._state.transaction():
            model = self._find("DeleteModel", request["ModelName"])
            self._state.delete_model(model.name)
            forget_tags(self._state, model.arn)
        return {}

    def _find(self, operation: str, name: str) -> ModelRecord:
        model = self._state.get_model(name)
        if model is None:
            # SDK v2, model_card.py and session.py, look for these words.
            raise missing(operation, f'Could not find model "{self._arns.model(name)}".')
        return model


def containers_of(request: JsonObject) -> list[JsonObject]:
    """The containers of a CreateModel request, however it names them."""
    primary = request.get("PrimaryContainer")
    return [primary] if primary else list(request.get("Containers") or [])


def _check_containers(request: JsonObject) -> None:
    primary, several = request.get("PrimaryContainer"), request.get("Containers")
    if (primary is None) == (not several):
        raise invalid("Give one of PrimaryContainer and Containers")
    for container in containers_of(request):
        if "Image" not in container and "ModelPackageName" not in container:
            raise invalid("A container needs an Image or a ModelPackageName")
