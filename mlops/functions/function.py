"""A function as it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mlops.ports import JsonObject, ResourceRecord

KIND = "function"


@dataclass(frozen=True, slots=True)
class Function:
    """``configuration`` is botocore's FunctionConfiguration; ``code`` has ``ImageUri``, or the
    ``digest`` of a zip that is kept."""

    record: ResourceRecord

    @classmethod
    def new(cls, configuration: JsonObject, code: JsonObject, now: datetime) -> Function:
        record = ResourceRecord(
            kind=KIND,
            name=configuration["FunctionName"],
            arn=configuration["FunctionArn"],
            created_at=now,
            last_modified_at=now,
            status=configuration["State"],
            document={"configuration": configuration, "code": code},
        )
        return cls(record)

    def changed(self, configuration: JsonObject, code: JsonObject, now: datetime) -> Function:
        document = {"configuration": configuration, "code": code}
        return Function(replace(self.record, document=document, last_modified_at=now))

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def arn(self) -> str:
        return self.record.arn

    @property
    def configuration(self) -> JsonObject:
        configuration: JsonObject = self.record.document["configuration"]
        return configuration

    @property
    def code(self) -> Mapping[str, str]:
        code: Mapping[str, str] = self.record.document["code"]
        return code

    @property
    def image(self) -> str:
        """The image of a function of one: by digest where a registry of ours has it."""
        return str(self.code.get("ResolvedImageUri") or self.code["ImageUri"])

    @property
    def is_image(self) -> bool:
        return bool(self.configuration["PackageType"] == "Image")

    @property
    def revision(self) -> str:
        return str(self.configuration["RevisionId"])

    @property
    def timeout_seconds(self) -> int:
        return int(self.configuration["Timeout"])

    @property
    def memory_megabytes(self) -> int:
        return int(self.configuration["MemorySize"])
