"""The operations of EventBridge that are answered here: rules, targets, PutEvents.

One bus, ``default``. A rule has an event pattern; schedules do not run here. Targets are Lambda
functions and SQS queues of this gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from mlops.errors import ServiceError
from mlops.json_text import parse_json
from mlops.ports import Clock, JsonObject, ResourceRecord, StateStore
from mlops.services.events.bus import ENABLED, RULE, EventBus
from mlops.services.events.inputs import check_target
from mlops.services.events.patterns import BadPattern, Fits, read_pattern
from mlops.services.table import TableService
from mlops.services.tags import forget_tags, store_tags
from mlops.settings import Settings

BUS = "default"
MOST_TARGETS = 5
"""Of a rule (EventBridge quotas)."""
MOST_LISTED = 100
_TARGET_SERVICES = ("lambda", "sqs")
_NOT_OF_A_TARGET = (
    "KinesisParameters",
    "RunCommandParameters",
    "EcsParameters",
    "BatchParameters",
    "HttpParameters",
    "RedshiftDataParameters",
    "SageMakerPipelineParameters",
    "AppSyncParameters",
)

Item = TypeVar("Item")


class EventsService(TableService):
    """Requests in, answers out, both as botocore's model of ``events`` has them. Thread-safe."""

    def __init__(self, state: StateStore, settings: Settings, clock: Clock, bus: EventBus) -> None:
        super().__init__(
            "events",
            {
                "PutRule": self._put_rule,
                "DescribeRule": self._describe_rule,
                "ListRules": self._list_rules,
                "DeleteRule": self._delete_rule,
                "EnableRule": self._enable_rule,
                "DisableRule": self._disable_rule,
                "PutTargets": self._put_targets,
                "RemoveTargets": self._remove_targets,
                "ListTargetsByRule": self._list_targets,
                "ListRuleNamesByTarget": self._list_by_target,
                "PutEvents": self._put_events,
                "TestEventPattern": self._test_pattern,
                "DescribeEventBus": self._describe_bus,
                "ListEventBuses": self._list_buses,
                "TagResource": self._tag,
                "UntagResource": self._untag,
                "ListTagsForResource": self._list_tags,
            },
        )
        self._state = state
        self._clock = clock
        self._bus = bus
        self._account, self._region = settings.account_id, settings.region
        self._arn = f"arn:aws:events:{settings.region}:{settings.account_id}:"

    # --- rules ---

    def _put_rule(self, request: JsonObject) -> JsonObject:
        self._check_bus(request)
        name = request["Name"]
        if "ScheduleExpression" in request:
            raise _invalid("The local EventBridge has no schedules: give the rule an EventPattern")
        if "EventPattern" not in request:
            raise _invalid("Parameter(s) EventPattern must be specified.")
        _fits(request["EventPattern"])
        now, old = self._clock.now(), self._bus.rule(name)
        rule = ResourceRecord(
            kind=RULE,
            name=name,
            arn=f"{self._arn}rule/{name}",
            created_at=now if old is None else old.created_at,
            last_modified_at=now,
            status=request.get("State", ENABLED),
            document={
                "pattern": request["EventPattern"],
                "description": request.get("Description"),
                "role": request.get("RoleArn"),
                "targets": {} if old is None else old.document["targets"],
            },
        )
        self._bus.put_rule(rule)
        if old is None:
            store_tags(self._state, rule.arn, request.get("Tags", []))
        return {"RuleArn": rule.arn}

    def _describe_rule(self, request: JsonObject) -> JsonObject:
        return self._described(self._rule(request, "Name"))

    def _described(self, rule: ResourceRecord) -> JsonObject:
        return {
            "Name": rule.name,
            "Arn": rule.arn,
            "EventPattern": rule.document["pattern"],
            "State": rule.status,
            "Description": rule.document["description"],
            "RoleArn": rule.document["role"],
            "EventBusName": BUS,
        }

    def _list_rules(self, request: JsonObject) -> JsonObject:
        self._check_bus(request)
        prefix = request.get("NamePrefix", "")
        found = [rule for rule in self._bus.rules() if rule.name.startswith(prefix)]
        rules, token = _page(sorted(found, key=lambda rule: rule.name), request)
        return {"Rules": [self._described(rule) for rule in rules], "NextToken": token}

    def _delete_rule(self, request: JsonObject) -> JsonObject:
        self._check_bus(request)
        rule = self._bus.rule(request["Name"])
        if rule is None:
            return {}
        if rule.document["targets"]:
            raise _invalid("Rule can't be deleted since it has targets.")
        self._bus.delete_rule(rule.name)
        forget_tags(self._state, rule.arn)
        return {}

    def _enable_rule(self, request: JsonObject) -> JsonObject:
        return self._set_state(request, ENABLED)

    def _disable_rule(self, request: JsonObject) -> JsonObject:
        return self._set_state(request, "DISABLED")

    def _set_state(self, request: JsonObject, status: str) -> JsonObject:
        rule = self._rule(request, "Name")
        self._bus.put_rule(replace(rule, status=status, last_modified_at=self._clock.now()))
        return {}

    # --- targets ---

    def _put_targets(self, request: JsonObject) -> JsonObject:
        rule = self._rule(request, "Rule")
        for target in request["Targets"]:
            self._check_target(target)
        targets = rule.document["targets"] | {each["Id"]: each for each in request["Targets"]}
        if len(targets) > MOST_TARGETS:
            raise ServiceError(
                "LimitExceededException",
                f"The requested resource exceeds the maximum number allowed: {MOST_TARGETS}",
            )
        self._with_targets(rule, targets)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def _check_target(self, target: JsonObject) -> None:
        for arn in (target["Arn"], target.get("DeadLetterConfig", {}).get("Arn")):
            service = None if arn is None else (arn.split(":") + [""] * 3)[2]
            if service is not None and service not in _TARGET_SERVICES:
                raise _invalid(
                    f"The local EventBridge sends to Lambda functions and SQS queues, not to {arn}"
                )
        unknown = [name for name in _NOT_OF_A_TARGET if name in target]
        if unknown:
            raise _invalid(f"{unknown[0]} is for targets that are not here")
        check_target(target)

    def _remove_targets(self, request: JsonObject) -> JsonObject:
        rule = self._rule(request, "Rule")
        left = {
            name: target
            for name, target in rule.document["targets"].items()
            if name not in request["Ids"]
        }
        failed = [
            {
                "TargetId": name,
                "ErrorCode": "ResourceNotFoundException",
                "ErrorMessage": f"Rule {rule.name} has no target {name}.",
            }
            for name in request["Ids"]
            if name not in rule.document["targets"]
        ]
        self._with_targets(rule, left)
        return {"FailedEntryCount": len(failed), "FailedEntries": failed}

    def _with_targets(self, rule: ResourceRecord, targets: JsonObject) -> None:
        now = self._clock.now()
        document = rule.document | {"targets": targets}
        self._bus.put_rule(replace(rule, document=document, last_modified_at=now))

    def _list_targets(self, request: JsonObject) -> JsonObject:
        rule = self._rule(request, "Rule")
        targets, token = _page(list(rule.document["targets"].values()), request)
        return {"Targets": targets or None, "NextToken": token}  # the model allows no empty list

    def _list_by_target(self, request: JsonObject) -> JsonObject:
        self._check_bus(request)
        arn = request["TargetArn"]
        names = [
            rule.name
            for rule in self._bus.rules()
            if any(target["Arn"] == arn for target in rule.document["targets"].values())
        ]
        found, token = _page(sorted(names), request)
        return {"RuleNames": found, "NextToken": token}

    # --- events ---

    def _put_events(self, request: JsonObject) -> JsonObject:
        entries, events = [], []
        for entry in request["Entries"]:
            try:
                event = self._event(entry)
            except ServiceError as error:
                entries.append({"ErrorCode": error.code, "ErrorMessage": error.what})
            else:
                events.append(event)
                entries.append({"EventId": event["id"]})
        self._bus.put(events)
        return {"FailedEntryCount": len(entries) - len(events), "Entries": entries}

    def _event(self, entry: JsonObject) -> JsonObject:
        self._check_bus(entry)
        for name in ("Source", "DetailType", "Detail"):
            if not entry.get(name):
                raise ServiceError(
                    "InvalidArgument",
                    f"Parameter {name} is not valid. Reason: {name} is a required argument.",
                )
        try:
            detail = parse_json(entry["Detail"])
        except ValueError:
            detail = None
        if not isinstance(detail, dict):
            raise ServiceError("MalformedDetail", "Detail is malformed.")
        if entry["Source"].startswith("aws."):
            raise ServiceError("NotAuthorizedForSourceException", "Not authorized for the source.")
        at = entry.get("Time")
        moment = self._clock.now() if at is None else datetime.fromtimestamp(at, UTC)
        return {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": self._account,
            "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._region,
            "resources": entry.get("Resources", []),
            "detail": detail,
        }

    def _test_pattern(self, request: JsonObject) -> JsonObject:
        fits = _fits(request["EventPattern"])
        try:
            event = parse_json(request["Event"])
        except ValueError as error:
            raise _invalid(f"Parameter Event is not valid. Reason: {error}") from error
        if not isinstance(event, dict):
            raise _invalid("Parameter Event is not valid. Reason: it must be an object")
        return {"Result": fits(event)}

    def _describe_bus(self, request: JsonObject) -> JsonObject:
        self._check_bus(request, "Name")
        return {"Name": BUS, "Arn": f"{self._arn}event-bus/{BUS}"}

    def _list_buses(self, request: JsonObject) -> JsonObject:
        fits = BUS.startswith(request.get("NamePrefix", ""))
        return {"EventBuses": [self._describe_bus({})] if fits else []}

    # --- tags ---

    def _tag(self, request: JsonObject) -> JsonObject:
        store_tags(self._state, self._tagged(request), request["Tags"])
        return {}

    def _untag(self, request: JsonObject) -> JsonObject:
        self._state.delete_tags(self._tagged(request), request["TagKeys"])
        return {}

    def _list_tags(self, request: JsonObject) -> JsonObject:
        tags = self._state.get_tags(self._tagged(request))
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _tagged(self, request: JsonObject) -> str:
        arn = str(request["ResourceARN"])
        self._rule({"Name": arn.rpartition("/")[2]}, "Name")
        return arn

    # --- inside ---

    def _rule(self, request: JsonObject, member: str) -> ResourceRecord:
        self._check_bus(request)
        rule = self._bus.rule(request[member])
        if rule is None:
            raise ServiceError(
                "ResourceNotFoundException",
                f"Rule {request[member]} does not exist on EventBus {BUS}.",
            )
        return rule

    def _check_bus(self, request: JsonObject, member: str = "EventBusName") -> None:
        name = request.get(member, BUS)
        if name not in (BUS, f"{self._arn}event-bus/{BUS}"):
            raise ServiceError(
                "ResourceNotFoundException",
                f"Event bus {name} does not exist: the local EventBridge has {BUS} alone.",
            )


def _fits(pattern: str) -> Fits:
    try:
        return read_pattern(pattern)
    except BadPattern as error:
        raise ServiceError("InvalidEventPatternException", str(error)) from error


def _page(items: Sequence[Item], request: JsonObject) -> tuple[Sequence[Item], str | None]:
    """One page; the token is the number of the item that comes next."""
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise _invalid("The NextToken is not valid")
    begin = int(token)
    end = begin + request.get("Limit", MOST_LISTED)
    return items[begin:end], str(end) if end < len(items) else None


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
