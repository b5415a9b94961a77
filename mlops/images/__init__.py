"""The container images of `containers/`: which are out of date, and their builds.

In stages, each a module:

1. `sources`: what defines an image: its folder's files, the pins, the base that it names.
2. `plan`: which images have to be built, in which order, and why. Pure.
3. `base`: the image that everything stands on: a given one, a pulled one, or a Debian root file
   system made here by mmdebstrap.
4. `packages`: how pip reaches its index from here (configuration, certificates, network), handed to
   the build and not left in the image.
5. `engine`: the Docker engine: what it has, and the build with its output.

`python -m mlops.images` builds what changed.
"""

from mlops.images.build import build_images, image_status
from mlops.images.plan import ImageState, ImageStatus

__all__ = ["ImageState", "ImageStatus", "build_images", "image_status"]
