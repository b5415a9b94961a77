"""The object store: S3 as plain files."""

from mlops.stores.objects.memory import MemoryObjectStore
from mlops.stores.objects.store import FileObjectStore

__all__ = ["FileObjectStore", "MemoryObjectStore"]
