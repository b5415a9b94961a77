"""Container images' contents as plain files, named by their digest."""

from mlops.stores.blobs.store import FileBlobStore

__all__ = ["FileBlobStore"]
