"""Typed settings from three places: `mlops.toml`, the environment, the command's flags.

A later place wins over an earlier one. The file is found in the working folder or any folder
above it; its keys are the field names below, image mappings are an array of tables `images`.
The environment variables are the field names in upper case after ``MLOPS_``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mlops.errors import SettingsError

SETTINGS_FILE = "mlops.toml"

CACHE_MODES = ("service", "content")
"""How a step that opts in finds an earlier run of itself; see ``Settings.cache_mode``."""
CACHE_HEADER = "X-Mlops-Cache"
"""The header of a StartPipelineExecution that says one for this execution alone."""
CACHE_OFF = "off"
"""In the place of one, for one execution: every step runs, and what it makes is kept for others."""


@dataclass(frozen=True, slots=True)
class ImageMapping:
    """Which local image stands for the image URIs that match `pattern` (shell wildcards).

    ``local`` is an image of the local engine. ``folder`` names a folder of ``containers/`` that
    defines it: such an image can be built here, and the process runtime can stand in for it
    (the project's environment, with the folder's ``bin/`` on the PATH).
    """

    pattern: str
    local: str
    folder: str | None = None


DEFAULT_IMAGES = (
    ImageMapping("*/sagemaker-scikit-learn:*", "mlops-processing:local", "processing"),
    ImageMapping("*/mlops-processing:*", "mlops-processing:local", "processing"),
    ImageMapping("*/tensorflow-training:*", "mlops-tensorflow:local", "tensorflow"),
    ImageMapping("*/tensorflow-inference:*", "mlops-tensorflow:local", "tensorflow"),
    ImageMapping("*/mlops-tensorflow:*", "mlops-tensorflow:local", "tensorflow"),
    ImageMapping("*/mlops-endpoint-test:*", "mlops-endpoint-test:local", "endpoint_test"),
    # What functions that come as a zip run on; any image with Lambda's runtime client will do.
    ImageMapping("public.ecr.aws/lambda/python:*", "mlops-endpoint-test:local", "endpoint_test"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a person can set. Paths are absolute once loaded."""

    store: Path = Path(".mlops")
    """The state folder: state, objects, logs, reports, and the gateway's address."""
    region: str = "us-east-1"
    account_id: str = "000000000000"
    """Twelve digits; every ARN, bucket name and image URI made locally has it."""
    role_arn: str | None = None
    """The execution role; by default `arn:aws:iam::{account}:role/mlops-execution`."""
    mlops_bucket: str | None = None
    """Where a run's artifacts go; by default `mlops-{region}-{account}` as in the lab."""
    data_bucket: str | None = None
    """Where raw data goes; by default `data-{region}-{account}` as in the lab."""
    runtime: str = "auto"
    """`docker`, `process`, or `auto`: Docker where an engine answers, else processes."""
    dataset: Path = Path("local_data/diamonds/dataset.json")
    """The descriptor of the data that the lab's pipeline learns from."""
    data_file: Path | None = None
    """The data itself, where it does not lie beside its descriptor."""
    image_tag: str = "latest"
    """The tag of the project's own images in a definition's image URIs."""
    gateway_port: int = 0
    """A fixed port for the gateway; 0 takes a free one."""
    gateway_host: str | None = None
    """An address to listen on beyond this machine, `0.0.0.0` for all of them: who comes that way
    has to sign with the gateway's own key (docs/security.md). None, or `127.0.0.1`: nowhere."""
    gateway_idle_seconds: float = 900.0
    """The gateway leaves after so long without a request, with nothing running."""
    cache_mode: str = "service"
    """How steps with a CacheConfig find an earlier run: `service` compares what SageMaker compares,
    S3 addresses and not what is there; `content` compares what is there, whatever its address."""
    allow_reset: bool = False
    """Whether `POST /_mlops/reset` may delete all that is in the state folder; for tests alone."""
    images: tuple[ImageMapping, ...] = DEFAULT_IMAGES
    """The image table; a file's entries go before the defaults, the first match counts."""

    @property
    def execution_role_arn(self) -> str:
        return self.role_arn or f"arn:aws:iam::{self.account_id}:role/mlops-execution"

    @property
    def artifact_bucket(self) -> str:
        return self.mlops_bucket or f"mlops-{self.region}-{self.account_id}"

    @property
    def raw_data_bucket(self) -> str:
        return self.data_bucket or f"data-{self.region}-{self.account_id}"

    def image_for(self, uri: str) -> ImageMapping | None:
        """The mapping of an image URI, or None where the table has none."""
        return next((row for row in self.images if fnmatchcase(uri, row.pattern)), None)

    @classmethod
    def load(
        cls,
        *,
        flags: Mapping[str, object] | None = None,
        environment: Mapping[str, str] = os.environ,
        folder: Path | None = None,
    ) -> Settings:
        """Read the settings; a flag that is None counts as not given.

        Raises:
            SettingsError: an unknown name, or a value of the wrong type or form.
        """
        start = (folder or Path.cwd()).absolute()
        file = _find_file(start)
        base = file.parent if file else start
        values: dict[str, Any] = {}
        if file:
            values |= _from_file(file)
        values |= _from_environment(environment)
        values |= {name: value for name, value in (flags or {}).items() if value is not None}
        return _checked(replace(cls(), **_typed(values, str(file) if file else None)), base)


def _find_file(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder / SETTINGS_FILE
    return None


def _from_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The settings file is not TOML: {error}", where=str(file), next_step="mend the file"
        ) from error
    rows = values.pop("images", None)
    if rows is None:
        return values
    try:
        own = tuple(ImageMapping(**row) for row in rows)
    except TypeError as error:
        raise SettingsError(
            "An [[images]] entry takes 'pattern', 'local' and optionally 'folder'",
            where=str(file),
            next_step="correct the entry",
        ) from error
    return values | {"images": own + DEFAULT_IMAGES}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    names = {field.name for field in fields(Settings)} - {"images"}
    return {
        name: environment[variable]
        for name in names
        if (variable := f"MLOPS_{name.upper()}") in environment
    }


def _typed(values: Mapping[str, Any], where: str | None) -> dict[str, Any]:
    hints = get_type_hints(Settings)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise SettingsError(
            f"There is no setting named {', '.join(unknown)}",
            where=where,
            next_step=f"the settings are: {', '.join(sorted(hints))}",
        )
    return {name: _convert(name, value, hints[name], where) for name, value in values.items()}


def _convert(name: str, value: Any, hint: Any, where: str | None) -> Any:
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
    wanted = kinds[0]
    if name == "images" or isinstance(value, wanted):
        return value
    if wanted is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    try:
        if wanted in (int, float, Path) and isinstance(value, (str, int, float)):
            return wanted(value)
    except ValueError:
        pass
    raise SettingsError(
        f"The setting {name} is {value!r}, which is no {wanted.__name__.lower()}",
        where=where,
        next_step=f"give {name} another value",
    )


def _is_address(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdecimal() and int(part) < 256 for part in parts)


def _checked(settings: Settings, base: Path) -> Settings:
    if not re.fullmatch(r"\d{12}", settings.account_id):
        raise SettingsError(
            f"The setting account_id is {settings.account_id!r}, an AWS account id has 12 digits",
            next_step="set account_id to 12 digits",
        )
    if settings.runtime not in ("auto", "docker", "process"):
        raise SettingsError(
            f"The setting runtime is {settings.runtime!r}",
            next_step="choose auto, docker or process",
        )
    if settings.gateway_host is not None and not _is_address(settings.gateway_host):
        raise SettingsError(
            f"The setting gateway_host is {settings.gateway_host!r}",
            next_step="give one of this machine's IPv4 addresses, or 0.0.0.0 for all of them",
        )
    if settings.cache_mode not in CACHE_MODES:
        raise SettingsError(
            f"The setting cache_mode is {settings.cache_mode!r}",
            next_step=f"choose {' or '.join(CACHE_MODES)}",
        )
    return replace(
        settings,
        store=base / settings.store,
        dataset=base / settings.dataset,
        data_file=base / settings.data_file if settings.data_file else None,
    )
