"""EventBridge: SageMaker's state changes as events, and the rules that send them on.

patterns    does an event fit a rule's pattern?                      (pure)
changes     a record that has changed, as the event it makes         (pure)
inputs      what a target is sent                                    (pure)
watching    the state store, seen by somebody who tells of changes
bus         the rules, and the threads that deliver
targets     how a Lambda function or a queue is sent something
service     the operations

Sources: the EventBridge User Guide ("Event patterns", "Input transformation") and the SageMaker
Developer Guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge".
"""

from mlops.services.events.bus import EventBus
from mlops.services.events.service import EventsService
from mlops.services.events.targets import deliveries
from mlops.services.events.watching import watched

__all__ = ["EventBus", "EventsService", "deliveries", "watched"]
