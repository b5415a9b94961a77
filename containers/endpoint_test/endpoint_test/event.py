"""The event, checked: whoever invokes the function learns all that is wrong with it at once."""

DEFAULT_REQUESTS = 200
TRANSFORMS = ("none", "log")
KNOWN = (
    "endpoint_name",
    "holdout_s3_uri",
    "columns",
    "target",
    "transform",
    "evaluation_s3_uri",
    "max_requests",
    "max_mse",
)


class EventProblem(Exception):
    """The event makes no sense."""


class Order:
    """What is to be tested."""

    def __init__(self, event):
        self.endpoint = event["endpoint_name"]
        self.holdout = s3_place(event["holdout_s3_uri"], "holdout.csv")
        self.columns = event["columns"]
        self.target = event["target"]
        self.transform = event.get("transform") or "none"
        evaluation = event.get("evaluation_s3_uri")
        self.evaluation = s3_place(evaluation, "evaluation.json") if evaluation else None
        self.max_requests = event.get("max_requests") or DEFAULT_REQUESTS
        self.max_mse = event.get("max_mse")


def read_event(event):
    """Raises EventProblem."""
    if not isinstance(event, dict):
        raise EventProblem("the event must be a JSON object")
    problems = list(find_problems(event))
    if problems:
        raise EventProblem("; ".join(problems))
    return Order(event)


def find_problems(event):
    for name in sorted(set(event) - set(KNOWN)):
        yield "there is no {!r} in an event, only {}".format(name, ", ".join(KNOWN))
    for name in ("endpoint_name", "holdout_s3_uri", "target"):
        if not is_text(event.get(name)):
            yield f"{name} must be a text"
    columns = event.get("columns")
    if not isinstance(columns, list) or not columns or not all(map(is_text, columns)):
        yield "columns must be a list of texts"
    for name in ("holdout_s3_uri", "evaluation_s3_uri"):
        uri = event.get(name)
        if is_text(uri) and not is_s3_uri(uri):
            yield f"{name} must be s3://bucket/key, not {uri!r}"
        elif uri is not None and not is_text(uri) and name == "evaluation_s3_uri":
            yield f"{name} must be a text"
    if (event.get("transform") or "none") not in TRANSFORMS:
        yield "transform must be one of {}".format(", ".join(TRANSFORMS))
    for name, kinds in (("max_requests", int), ("max_mse", (int, float))):
        value = event.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, kinds) or value <= 0
        ):
            yield f"{name} must be a number above 0"


def is_text(value):
    return isinstance(value, str) and bool(value)


def is_s3_uri(uri):
    bucket, _, key = uri.replace("s3://", "", 1).partition("/")
    return uri.startswith("s3://") and bool(bucket) and bool(key)


def s3_place(uri, file_name):
    """Bucket and key of a file that is given by its own address or by its folder's."""
    bucket, _, key = uri.replace("s3://", "", 1).partition("/")
    suffix = "." + file_name.rpartition(".")[2]
    return bucket, key if key.endswith(suffix) else key.rstrip("/") + "/" + file_name
