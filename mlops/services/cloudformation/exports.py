"""What stacks export and import: names that are unique in the account and region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.records import Stack, StackBook
from mlops.unknown import UNKNOWN


class Exports:
    def __init__(self, book: StackBook) -> None:
        self._book = book

    def all(self) -> dict[str, JsonObject]:
        """The members of ListExports by their names."""
        return {
            output["ExportName"]: {
                "ExportingStackId": stack.id,
                "Name": output["ExportName"],
                "Value": output["OutputValue"],
            }
            for stack in self._book.stacks()
            if not stack.deleted
            for output in stack.outputs
            if output.get("ExportName")
        }

    def importers(self, name: str) -> list[str]:
        """The names of the stacks that import it."""
        return [
            stack.name
            for stack in self._book.stacks()
            if not stack.deleted and name in stack.imports
        ]

    def value(self, name: str) -> str:
        """Raises ServiceError where nothing is exported under `name`."""
        found = self.all().get(name)
        if found is None:
            raise ServiceError("ValidationError", f"No export named {name} found.")
        value: str = found["Value"]
        return value

    def check(self, stack: Stack, outputs: Sequence[JsonObject]) -> None:
        """Refuse outputs of a stack that break exports.

        Raises:
            ServiceError: another stack exports a name, or imports one that would change or go.
        """
        new = {o["ExportName"]: o["OutputValue"] for o in outputs if o.get("ExportName")}
        for name, export in self.all().items():
            if name in new and export["ExportingStackId"] != stack.id:
                other = export["ExportingStackId"]
                raise ServiceError(
                    "ValidationError", f"Export with name {name} is already exported by {other}."
                )
        for output in stack.outputs:
            own = output.get("ExportName")
            value = new.get(own)
            if not own or value is UNKNOWN or value == output["OutputValue"]:
                continue
            users = self.importers(own)
            if users:
                done = "deleted" if own not in new else "updated"
                raise ServiceError(
                    "ValidationError",
                    f"Export {own} cannot be {done} as it is in use by {', '.join(users)}",
                )


class ImportedNames:
    """Looks imports up, and remembers which."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports
        self.names: set[str] = set()

    def __call__(self, name: str) -> Any:
        value = self._exports.value(name)
        self.names.add(name)
        return value
