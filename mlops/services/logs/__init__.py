"""CloudWatch Logs over the logs that jobs, model servers and functions really write."""

from mlops.services.logs.service import LogsService

__all__ = ["LogsService"]
