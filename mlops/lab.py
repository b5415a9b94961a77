"""What the lab's pipeline needs in S3: raw data, its descriptor and the step code, by checksum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlops.assets import SOURCE_ARCHIVE, Asset, checksum, pack_source, source_checksum
from mlops.dataset import Dataset, RawData
from mlops.settings import Settings

# What a model package says, in its CustomerMetadataProperties, of the rows to test it with.
HOLDOUT = "HoldoutS3Uri"
"""The raw rows that training never saw: a CSV with a header, or its folder."""
EVALUATION = "EvaluationS3Uri"
"""evaluation.json, with the metrics that the served model has to meet."""
PREPROCESSING = "PreprocessingS3Uri"
"""preprocessing.json, or its folder: the columns that the model takes, in order, and the target."""

_TRAINING_SOURCE = ("train.py",)
"""What the training job needs of the step code: no more, since an edit of anything in its source
archive makes the step run again."""

STEP_CODE = Path(__file__).resolve().parent.parent / "step_code"


@dataclass(frozen=True, slots=True)
class LabAssets:
    """The objects that a definition made by `mlops.pipeline.build_pipeline` refers to.

    Raw data and descriptor go to the data bucket, code to the artifact bucket at
    ``<pipeline>/code/<sha256>/<file>``, where the SDK would put it.
    """

    raw_data: Asset
    descriptor: Asset
    preprocess: Asset
    training_source: Asset
    evaluate: Asset

    def all(self) -> tuple[Asset, ...]:
        return (
            self.raw_data,
            self.descriptor,
            self.preprocess,
            self.training_source,
            self.evaluate,
        )


def lab_assets(settings: Settings, dataset: Dataset, step_code: Path = STEP_CODE) -> LabAssets:
    """Name everything that has to be in S3 before the lab's pipeline runs.

    Where the data file is not here its URI follows from the descriptor's checksum: a definition
    can be compiled without the data, an upload then says what is missing.

    Raises:
        DataError: the data file does not fit its descriptor, or is not here and has no checksum.
    """
    code = f"{dataset.names.pipeline}/code"

    def script(name: str) -> Asset:
        file = step_code / name
        return Asset(settings.artifact_bucket, f"{code}/{checksum(file)}/{name}", file)

    source = {name: step_code / name for name in _TRAINING_SOURCE}
    archive = f"{code}/{source_checksum(source)}/{SOURCE_ARCHIVE}"
    return LabAssets(
        raw_data=_raw_data(settings, dataset),
        descriptor=_descriptor(settings, dataset),
        preprocess=script("preprocess.py"),
        training_source=Asset(settings.artifact_bucket, archive, pack_source(source)),
        evaluate=script("evaluate.py"),
    )


def _descriptor(settings: Settings, dataset: Dataset) -> Asset:
    # The ETL step looks for dataset.json, whatever the file is called here.
    key = f"input/dataset/{dataset.descriptor_sha256}/dataset.json"
    return Asset(settings.raw_data_bucket, key, dataset.descriptor)


def _raw_data(settings: Settings, dataset: Dataset) -> Asset:
    file = settings.data_file or dataset.descriptor.parent / dataset.file
    if file.is_file() or settings.data_file or not dataset.sha256:
        key = dataset.raw_data(settings.data_file).key
    else:
        key = RawData(path=file, sha256=dataset.sha256, as_described=True).key
    return Asset(settings.raw_data_bucket, key, file, origin=dataset.source)
