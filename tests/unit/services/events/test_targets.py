"""How targets are sent something."""

from __future__ import annotations

from typing import Any

from mlops.services.events.targets import deliveries

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"


class Recorder:
    """A function host and a queue host that remember what they are asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def invoke(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return {"StatusCode": 202}

    def send_message(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return {"MessageId": "m"}


def test_a_function_is_invoked_and_a_queue_has_a_message() -> None:
    recorder: Any = Recorder()
    deliver = deliveries(recorder, recorder)
    deliver["lambda"](FUNCTION, '{"é": 1}')
    deliver["sqs"]("arn:aws:sqs:us-east-1:000000000000:q", "text")
    assert recorder.asked == [
        {
            "FunctionName": FUNCTION,
            "InvocationType": "Event",
            "Payload": '{"é": 1}'.encode(),
        },
        {"QueueUrl": "/000000000000/q", "MessageBody": "text"},
    ]
