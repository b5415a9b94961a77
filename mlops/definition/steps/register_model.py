"""RegisterModel: ``Arguments`` is a CreateModelPackage request.

SDK v2 calls the step ``X-RegisterModel``, and puts a Training step ``X-RepackModel`` before it
where the model has to be packed anew; v3 calls it ``X``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterModelStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ("RetryPolicies",)
    ONE_OF_ARGUMENTS: ClassVar[tuple[str, ...]] = ("ModelPackageGroupName", "ModelPackageName")
