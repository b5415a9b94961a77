"""Amazon ECR: repositories, what is in them, and who may push to them.

`service` answers the operations, `gateway/registry` the same things to `docker push` and
`docker pull`; both work on `Repositories`, `Images` and `Layers`. What is on disk is a
``ports.BlobStore``'s, what refers to it stands in the state store.
"""

from mlops.services.ecr.contents import Contents
from mlops.services.ecr.credentials import Credentials
from mlops.services.ecr.images import Images
from mlops.services.ecr.layers import Layers
from mlops.services.ecr.pulling import image_source
from mlops.services.ecr.registry import Registry
from mlops.services.ecr.repositories import Repositories
from mlops.services.ecr.service import EcrService

__all__ = [
    "Contents",
    "Credentials",
    "EcrService",
    "Images",
    "Layers",
    "Registry",
    "Repositories",
    "image_source",
]
