"""Under which kinds the state store has what there is of stacks."""

STACK, RESOURCE = "cloudformation-stack", "cloudformation-resource"
EVENT, CHANGE_SET = "cloudformation-event", "cloudformation-change-set"
