"""The function's entry: tests an endpoint with rows that training never saw.

Event:

    endpoint_name      the endpoint
    holdout_s3_uri     the held-out raw rows in S3: a CSV with a header, or holdout.csv's folder
    columns            what the endpoint takes of a row, in its order
    target             the column with the true value
    transform          "log" where errors count on that scale; "none" by default
    evaluation_s3_uri  evaluation.json (or its folder), whose MSE has to be met
    max_requests       how many rows to send, a sample of the file; by default 200
    max_mse            what the MSE may not exceed

The answer: status (passed, failed), requests, mse, mean_ms, p50_ms, p95_ms, p99_ms, first_ms, and
failures, a sentence each. The endpoint's faults are the answer; an event that makes no sense or
rows that cannot be had end the invocation with an error.
"""

import json

from endpoint_test.aws import Clients
from endpoint_test.check import check_endpoint
from endpoint_test.event import read_event

CLIENTS = Clients()  # kept for the next invocation, connections and all


def handler(event, context):
    """Lambda calls this for each invocation."""
    outcome = check_endpoint(read_event(event), CLIENTS, context.get_remaining_time_in_millis)
    print(json.dumps(outcome))
    return outcome
