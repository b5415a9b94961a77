"""`python -m mlops.images`: build what changed; `--status` only says what is there."""

from __future__ import annotations

import argparse
import sys

from mlops.errors import MlopsError
from mlops.images import build_images, image_status
from mlops.settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mlops.images", description=__doc__)
    parser.add_argument("--base-image", help="what the images stand on; must have Python and pip")
    parser.add_argument("--force", action="store_true", help="build also what is up to date")
    parser.add_argument("--status", action="store_true", help="say what is there, build nothing")
    given = parser.parse_args()
    try:
        settings = Settings.load()
        if given.status:
            for status in image_status(settings):
                print(f"{status.image}  {status.state}  {status.size / 1e6:,.0f} MB")
        else:
            build_images(settings, base_image=given.base_image, force=given.force, progress=say)
    except MlopsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
