"""A job's request with another place for all that the job writes. Pure."""

from __future__ import annotations

from copy import deepcopy

from mlops.ports import JsonObject


def own_request(request: JsonObject, prefix: str) -> JsonObject:
    """`request` with its outputs below ``<prefix>/outputs``; everything that it reads stays."""
    changed: JsonObject = deepcopy(request)
    outputs = f"{prefix}/outputs"
    for each in changed.get("ProcessingOutputConfig", {}).get("Outputs", ()):
        if "S3Output" in each:
            each["S3Output"]["S3Uri"] = f"{outputs}/{each['OutputName']}"
    for member, key in (
        ("OutputDataConfig", "S3OutputPath"),  # of a training job
        ("TransformOutput", "S3OutputPath"),
        ("CheckpointConfig", "S3Uri"),  # which a training job reads, too: it begins anew
    ):
        if member in changed:
            place = outputs if member != "CheckpointConfig" else f"{outputs}/checkpoints"
            changed[member][key] = place
    return changed
