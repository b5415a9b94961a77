"""How a target is sent something: by the operations that a client would call."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.ports import FunctionHost, QueueHost
from mlops.services.events.bus import Deliver


def deliveries(functions: FunctionHost, queues: QueueHost) -> Mapping[str, Deliver]:
    """By the service in a target's ARN: Lambda functions are invoked, SQS queues get a message."""

    def invoke(arn: str, text: str) -> None:
        functions.invoke({"FunctionName": arn, "InvocationType": "Event", "Payload": text.encode()})

    def send(arn: str, text: str) -> None:
        account, name = arn.split(":")[4:6]
        queues.send_message({"QueueUrl": f"/{account}/{name}", "MessageBody": text})

    return {"lambda": invoke, "sqs": send}
