"""What lets a step run that waits for another: the entries of ``DependsOn``.

An entry is a step's name, or ``{"Step": name, "Trigger": …}`` with one of the values below, which
SDK v3 writes (sagemaker/mlops/workflow/step_dependency.py). A name alone means ``Completed``, as
does a reference.
"""

from __future__ import annotations

from enum import StrEnum

from mlops.definition.fields import Fields


class Trigger(StrEnum):
    """The end of a step that lets the waiting one run."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"
    ANY = "Any"

    def accepts(self, end: Trigger) -> bool:
        return self in (end, Trigger.ANY)


def read_depends_on(fields: Fields) -> tuple[tuple[str, ...], dict[str, Trigger]]:
    """The names in ``DependsOn``, in order, and the triggers of those that are not Completed."""
    names: list[str] = []
    triggers: dict[str, Trigger] = {}
    for entry in fields.strings_or_objects("DependsOn"):
        if isinstance(entry, str):
            name, trigger = entry, Trigger.COMPLETED
        else:
            found = _read_entry(entry)
            if found is None:
                continue
            name, trigger = found
        if name in names and triggers.get(name, Trigger.COMPLETED) is not trigger:
            fields.refuse("DependsOn", f"The step waits for {name!r} with two different triggers")
        names.append(name)
        if trigger is not Trigger.COMPLETED:
            triggers[name] = trigger
    return tuple(names), triggers


def _read_entry(entry: Fields) -> tuple[str, Trigger] | None:
    entry.only(("Step", "Trigger"), "An entry of DependsOn")
    name = entry.string("Step") if entry.require("Step", "An entry of DependsOn") else None
    known = {str(each): each for each in Trigger}
    text = entry.string("Trigger")
    if text is not None and text not in known:
        entry.refuse("Trigger", f"There is no trigger {text!r}; there are {', '.join(known)}")
        return None
    return None if name is None else (name, known.get(text or "", Trigger.COMPLETED))
