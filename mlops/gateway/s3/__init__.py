"""S3's REST interface over the object store."""

from mlops.gateway.s3.face import S3Face

__all__ = ["S3Face"]
