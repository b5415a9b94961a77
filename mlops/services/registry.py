"""``ports.ModelRegistry`` by the SageMaker operations themselves."""

from __future__ import annotations

from mlops.ports import Clock, JsonObject, StateStore
from mlops.services.answers import wire_answer
from mlops.services.arns import Arns
from mlops.services.model_packages import ModelPackageOperations
from mlops.services.models import ModelOperations
from mlops.services.operation import Handler
from mlops.services.validation import checked_request
from mlops.settings import Settings


class ServiceRegistry:
    """What RegisterModel and Model steps call, with the checks that a client's call has."""

    def __init__(self, state: StateStore, settings: Settings, clock: Clock) -> None:
        arns = Arns(settings.region, settings.account_id)
        self._state = state
        self._packages = ModelPackageOperations(state, arns, clock.now)
        self._models = ModelOperations(state, arns, clock.now)

    def register(self, request: JsonObject) -> JsonObject:
        checked = checked_request("sagemaker", "CreateModelPackage", request)
        if "ModelPackageGroupName" in checked:
            self._packages.ensure_group(checked["ModelPackageGroupName"])
        made = self._packages.create(checked)
        return _described(
            "DescribeModelPackage",
            self._packages.describe,
            {"ModelPackageName": made["ModelPackageArn"]},
        )

    def create_model(self, request: JsonObject) -> JsonObject:
        checked = checked_request("sagemaker", "CreateModel", request)
        # A Model step that is taken up by another gateway makes the same model again.
        made = self._state.get_model(checked["ModelName"])
        if made is None or made.request != checked:
            self._models.create(checked)
        return _described(
            "DescribeModel", self._models.describe, {"ModelName": checked["ModelName"]}
        )


def _described(operation: str, handler: Handler, request: JsonObject) -> JsonObject:
    return wire_answer("sagemaker", operation, handler(request))
