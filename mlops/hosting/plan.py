"""An endpoint configuration and its models, resolved into what to start. Pure.

A plan holds all that a server needs, so that an endpoint can be started again after its
configuration or its models have been deleted; it is kept as JSON with the endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject, ModelPackageRecord, ModelRecord

MAXIMUM_SERVERS = 8
"""Servers of a variant here; a machine is no fleet."""

STARTUP_SECONDS = 480
"""How long a container may take to answer its first ping. AWS, "How Your Container Should Respond
to Health Check (Ping) Requests": eight minutes, if the variant does not say otherwise."""


@dataclass(frozen=True, slots=True)
class ModelData:
    """Where a model's files are: an archive, one file, or everything below a prefix."""

    uri: str
    kind: str
    """``archive``, ``object`` or ``prefix``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessPlan:
    """botocore sagemaker ``ProductionVariantServerlessConfig``."""

    memory_megabytes: int
    maximum_concurrency: int
    provisioned_concurrency: int | None = None

    def shape(self) -> JsonObject:
        provisioned = self.provisioned_concurrency
        return {
            "MemorySizeInMB": self.memory_megabytes,
            "MaxConcurrency": self.maximum_concurrency,
            **({} if provisioned is None else {"ProvisionedConcurrency": provisioned}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantPlan:
    """One production variant: a model behind one or several servers."""

    name: str
    model_name: str
    image: str
    environment: Mapping[str, str]
    data: ModelData | None
    weight: float
    count: int
    startup_seconds: int = STARTUP_SECONDS
    instance_type: str | None = None
    serverless: ServerlessPlan | None = None
    routing: JsonObject | None = None

    @property
    def memory_megabytes(self) -> int | None:
        return None if self.serverless is None else self.serverless.memory_megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan:
    """All variants of an endpoint, under the configuration that they come from."""

    config_name: str
    variants: tuple[VariantPlan, ...]
    async_inference: JsonObject | None = None
    """botocore sagemaker ``AsyncInferenceConfig``; an endpoint with one takes no other requests."""

    def document(self) -> JsonObject:
        """The plan as JSON."""
        return asdict(self) | {"variants": [asdict(variant) for variant in self.variants]}

    @classmethod
    def read(cls, document: JsonObject) -> DeploymentPlan:
        return cls(
            config_name=document["config_name"],
            variants=tuple(_read_variant(each) for each in document["variants"]),
            async_inference=document.get("async_inference"),
        )

    def variant(self, name: str) -> VariantPlan | None:
        return next((each for each in self.variants if each.name == name), None)

    def with_variants(self, changed: Mapping[str, VariantPlan]) -> DeploymentPlan:
        """The same with some variants replaced, by name."""
        return replace(self, variants=tuple(changed.get(each.name, each) for each in self.variants))


def _read_variant(document: JsonObject) -> VariantPlan:
    data, serverless = document["data"], document["serverless"]
    return VariantPlan(
        **{
            **document,
            "data": None if data is None else ModelData(**data),
            "serverless": None if serverless is None else ServerlessPlan(**serverless),
        }
    )


# --- from a configuration ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Where models and packages are looked up; both answer None for what is not there."""

    model: Callable[[str], ModelRecord | None]
    package: Callable[[str], ModelPackageRecord | None]
    model_arn: Callable[[str], str]


def plan_deployment(config: JsonObject, catalogue: Catalogue) -> DeploymentPlan:
    """Resolve a CreateEndpointConfig request.

    Raises:
        ServiceError: ``ValidationException``: a model is not there or cannot run here.
    """
    return DeploymentPlan(
        config_name=config["EndpointConfigName"],
        variants=tuple(plan_variant(each, catalogue) for each in config["ProductionVariants"]),
        async_inference=config.get("AsyncInferenceConfig"),
    )


def plan_variant(variant: JsonObject, catalogue: Catalogue) -> VariantPlan:
    """Resolve one production variant; a batch job's server is planned as such, too.

    Raises:
        ServiceError: ``ValidationException``: its model is not there or cannot run here.
    """
    model = catalogue.model(variant["ModelName"])
    if model is None:
        # SDK v2 and moto have the same words; seen in public answers of CreateEndpointConfig.
        raise _invalid(f'Could not find model "{catalogue.model_arn(variant["ModelName"])}".')
    container = resolve_container(_only_container(model), catalogue)
    serverless = variant.get("ServerlessConfig")
    return VariantPlan(
        name=variant["VariantName"],
        model_name=model.name,
        image=container["Image"],
        environment=container.get("Environment", {}),
        data=_model_data(container, model.name),
        weight=float(variant.get("InitialVariantWeight", 1.0)),
        count=1 if serverless else int(variant.get("InitialInstanceCount", 1)),
        startup_seconds=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS),
        instance_type=variant.get("InstanceType"),
        serverless=None if serverless is None else _plan_serverless(serverless),
        routing=variant.get("RoutingConfig"),
    )


def _plan_serverless(config: JsonObject) -> ServerlessPlan:
    return ServerlessPlan(
        memory_megabytes=config["MemorySizeInMB"],
        maximum_concurrency=config["MaxConcurrency"],
        provisioned_concurrency=config.get("ProvisionedConcurrency"),
    )


def _only_container(model: ModelRecord) -> JsonObject:
    request = model.request
    containers: Sequence[JsonObject] = request.get("Containers") or [request["PrimaryContainer"]]
    if len(containers) > 1:
        raise _invalid(
            f"The model {model.name} has {len(containers)} containers: an inference pipeline does "
            "not run locally yet; put the steps into one container"
        )
    return containers[0]


def resolve_container(container: JsonObject, catalogue: Catalogue) -> JsonObject:
    """A container definition with what its model package says; its own members win.

    Raises:
        ServiceError: the package is not there, or has not exactly one container.
    """
    name = container.get("ModelPackageName")
    if name is None:
        return container
    package = catalogue.package(name)
    if package is None:
        raise _invalid(f"Could not find model package {name}.")
    specification = package.request.get("InferenceSpecification") or {}
    containers = specification.get("Containers") or []
    if len(containers) != 1:
        raise _invalid(
            f"The model package {name} has {len(containers)} containers, one can be served"
        )
    environment = {**containers[0].get("Environment", {}), **container.get("Environment", {})}
    return {**containers[0], **container, "Environment": environment}


def _model_data(container: JsonObject, model: str) -> ModelData | None:
    if container.get("Mode") == "MultiModel":
        raise _invalid(
            f"The model {model} has the mode MultiModel, which does not run locally yet; "
            "deploy its models one by one"
        )
    if container.get("AdditionalModelDataSources"):
        raise _invalid(
            f"The model {model} has AdditionalModelDataSources, which do not run locally yet"
        )
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source is not None:
        return _from_source(source, model)
    uri = container.get("ModelDataUrl")
    return None if uri is None else ModelData(_s3(uri, model), "archive")


def _from_source(source: JsonObject, model: str) -> ModelData:
    if source.get("ManifestS3Uri"):
        raise _invalid(f"The model {model} has a ManifestS3Uri, which does not run locally yet")
    compressed = source["CompressionType"] == "Gzip"
    if compressed and source["S3DataType"] != "S3Object":
        raise _invalid(
            f"The model {model} has gzipped data behind a prefix; give the archive's own S3Uri "
            "with the S3DataType S3Object"
        )
    plain = "object" if source["S3DataType"] == "S3Object" else "prefix"
    return ModelData(_s3(source["S3Uri"], model), "archive" if compressed else plain)


def _s3(uri: str, model: str) -> str:
    if not uri.startswith("s3://"):
        raise _invalid(
            f"The data of model {model} is at {uri}; write the address as s3://bucket/key"
        )
    return uri


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


# --- changes of an endpoint --------------------------------------------------------------------


def with_retained(
    plan: DeploymentPlan, before: DeploymentPlan, excluded: Sequence[str]
) -> DeploymentPlan:
    """The plan of an update with RetainAllVariantProperties.

    Variants that were there keep weight and count, but for the kinds in `excluded` (botocore
    sagemaker ``VariantPropertyType``).
    """
    changed: dict[str, VariantPlan] = {}
    for variant in plan.variants:
        old = before.variant(variant.name)
        if old is None:
            continue
        kept: dict[str, Any] = {}
        if "DesiredWeight" not in excluded:
            kept["weight"] = old.weight
        if "DesiredInstanceCount" not in excluded and variant.serverless is None:
            kept["count"] = old.count
        changed[variant.name] = replace(variant, **kept)
    return plan.with_variants(changed)


def with_desired(plan: DeploymentPlan, desired: Sequence[JsonObject]) -> DeploymentPlan:
    """The plan after UpdateEndpointWeightsAndCapacities (``DesiredWeightAndCapacity`` each).

    Raises:
        ServiceError: ``ValidationException``: no such variant, or one that has no such property.
    """
    changed = {}
    for each in desired:
        variant = plan.variant(each["VariantName"])
        if variant is None:
            known = ", ".join(variant.name for variant in plan.variants)
            raise _invalid(
                f'Variant "{each["VariantName"]}" is not in the endpoint; it has {known}'
            )
        changed[variant.name] = _with_desired(variant, each)
    return plan.with_variants(changed)


def _with_desired(variant: VariantPlan, desired: JsonObject) -> VariantPlan:
    count = desired.get("DesiredInstanceCount", variant.count)
    serverless = variant.serverless
    if serverless is not None and count != variant.count:
        raise _invalid(f"Variant {variant.name} is serverless: it has no instance count")
    update = desired.get("ServerlessUpdateConfig")
    if update is not None:
        if serverless is None:
            raise _invalid(f"Variant {variant.name} is not serverless")
        serverless = replace(
            serverless,
            maximum_concurrency=update.get("MaxConcurrency", serverless.maximum_concurrency),
            provisioned_concurrency=update.get(
                "ProvisionedConcurrency", serverless.provisioned_concurrency
            ),
        )
    return replace(
        variant,
        weight=float(desired.get("DesiredWeight", variant.weight)),
        count=int(count),
        serverless=serverless,
    )


def check_limits(plan: DeploymentPlan) -> None:
    """Refuse what this machine is not for.

    Raises:
        ServiceError: ``ResourceLimitExceeded``: more servers than MAXIMUM_SERVERS.
    """
    for variant in plan.variants:
        if variant.count > MAXIMUM_SERVERS:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"Variant {variant.name} asks for {variant.count} instances: each is a server on "
                f"this machine, which has room for {MAXIMUM_SERVERS} of a variant. Set "
                "InitialInstanceCount lower here.",
            )
