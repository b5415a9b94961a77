"""The way to AWS: two clients, made when they are first needed and kept."""

import json
import os

TEXT_SHOWN = 300  # characters of somebody else's error
ABOUT_THE_ENDPOINT = ("ValidationError", "ValidationException", "AccessDeniedException")
"""What InvokeEndpoint answers where no row will fare better: no such endpoint, not in service."""


class FetchProblem(Exception):
    """Something that the test needs cannot be read from S3."""


class RequestFailed(Exception):
    """The endpoint did not answer with a prediction. `hopeless`: no other row will fare better."""

    def __init__(self, text, hopeless=False):
        super().__init__(text)
        self.hopeless = hopeless


class Clients:
    """S3 and the endpoints' runtime, with connections that stay open."""

    def __init__(self):
        self._made = {}

    def _client(self, service):
        if service not in self._made:
            import boto3  # a fifth of a second: within the first invocation, not before it
            from botocore.config import Config

            # A test has to see what fails: nothing is tried twice. Under an endpoint URL of one's
            # own a bucket is no host name.
            style = "path" if os.environ.get("AWS_ENDPOINT_URL") else "auto"
            config = Config(
                retries={"total_max_attempts": 1},
                tcp_keepalive=True,
                s3={"addressing_style": style},
            )
            self._made[service] = boto3.client(service, config=config)
        return self._made[service]

    def read_text(self, bucket, key):
        """A text from S3. Raises FetchProblem."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            body = self._client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            return body.decode("utf-8-sig")
        except (BotoCoreError, ClientError, UnicodeDecodeError) as error:
            raise FetchProblem(f"s3://{bucket}/{key} cannot be read: {error}") from None

    def read_json(self, bucket, key):
        """JSON from S3. Raises FetchProblem."""
        try:
            return json.loads(self.read_text(bucket, key))
        except ValueError as error:
            raise FetchProblem(f"s3://{bucket}/{key} is not JSON: {error}") from None

    def predict(self, endpoint, line):
        """The endpoint's answer to one line of CSV, as text. Raises RequestFailed."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._client("sagemaker-runtime")
        try:
            answer = client.invoke_endpoint(
                EndpointName=endpoint, Body=line, ContentType="text/csv", Accept="text/csv"
            )
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            text = answer["Body"].read().decode("utf-8", "replace")
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            raise RequestFailed(shortened(error), hopeless=code in ABOUT_THE_ENDPOINT) from None
        except BotoCoreError as error:
            raise RequestFailed(shortened(error)) from None
        if status != 200:
            raise RequestFailed(f"status {status}: {shortened(text)}")
        return text


def shortened(thing):
    text = " ".join(str(thing).split())
    return text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"
