"""CloudFormation: stacks whose resources are made by the gateway's own operations.

``text``, ``template``, ``functions``, ``parameters``, ``schema``, ``planning`` and ``differences``
decide, and do no IO; ``types`` has the resource types; ``work``, ``forward``, ``backward`` and
``operation`` act; ``service`` answers.
"""

from mlops.services.cloudformation.host import NAMESPACE, StackHost

__all__ = ["NAMESPACE", "StackHost"]
