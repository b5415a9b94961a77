"""What a step that runs again alone is asked for: its own place, edited code, a debugger."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mlops.developing.code_in_place import with_code
from mlops.developing.debugger import debug_command
from mlops.developing.own_place import own_request
from mlops.errors import UsageError
from mlops.stores.objects.memory import MemoryObjectStore

PREFIX = "s3://bucket/again/1"


@pytest.fixture
def objects() -> MemoryObjectStore:
    store = MemoryObjectStore()
    store.create_bucket("bucket")
    for key in ("code/step.py", "code/lib/util.py", "data/a.csv"):
        store.put("bucket", key, b"old")
    return store


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    file = tmp_path / "step.py"
    file.write_text("new")
    return file


def processing(uri: str) -> dict[str, Any]:
    inputs = [
        {"InputName": "data", "S3Input": {"S3Uri": "s3://bucket/data", "S3DataType": "S3Prefix"}},
        {"InputName": "code", "S3Input": {"S3Uri": uri, "S3DataType": "S3Prefix"}},
    ]
    output = {"OutputName": "o", "S3Output": {"S3Uri": "s3://bucket/recorded"}}
    return {"ProcessingInputs": inputs, "ProcessingOutputConfig": {"Outputs": [output]}}


def text(objects: MemoryObjectStore, key: str) -> str:
    with objects.open("bucket", key) as file:
        return file.read().decode()


def test_all_that_is_written_goes_below_the_prefix_and_the_record_stays() -> None:
    recorded = processing("s3://bucket/code") | {
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models", "KmsKeyId": "k"},
        "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
    }
    before = json.dumps(recorded)
    request = own_request(recorded, PREFIX)
    (output,) = request["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == f"{PREFIX}/outputs/o"
    assert request["OutputDataConfig"] == {"S3OutputPath": f"{PREFIX}/outputs", "KmsKeyId": "k"}
    assert request["CheckpointConfig"] == {"S3Uri": f"{PREFIX}/outputs/checkpoints"}
    assert request["ProcessingInputs"] == recorded["ProcessingInputs"]
    assert json.dumps(recorded) == before


def test_an_edited_file_takes_the_place_of_the_one_in_its_folder(
    objects: MemoryObjectStore, edited: Path
) -> None:
    request = with_code(objects, processing("s3://bucket/code"), PREFIX, [edited])
    data, code = (each["S3Input"]["S3Uri"] for each in request["ProcessingInputs"])
    assert (data, code) == ("s3://bucket/data", f"{PREFIX}/code/0/code")
    assert text(objects, "again/1/code/0/code/step.py") == "new"
    assert text(objects, "again/1/code/0/code/lib/util.py") == "old"
    assert text(objects, "code/step.py") == "old"


def test_an_edited_file_takes_the_place_of_an_object_of_its_own(
    objects: MemoryObjectStore, edited: Path
) -> None:
    request = with_code(objects, processing("s3://bucket/code/step.py"), PREFIX, [edited])
    uri = request["ProcessingInputs"][1]["S3Input"]["S3Uri"]
    assert uri == f"{PREFIX}/code/0/step.py"
    assert text(objects, "again/1/code/0/step.py") == "new"


def test_an_edited_file_is_packed_into_a_training_jobs_source(
    objects: MemoryObjectStore, edited: Path
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("step.py", "other.py"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"old"))
    objects.put("bucket", "source.tar.gz", packed.getvalue())
    parameters = {"sagemaker_submit_directory": '"s3://bucket/source.tar.gz"'}
    request = with_code(objects, {"HyperParameters": parameters}, PREFIX, [edited])
    uri = json.loads(request["HyperParameters"]["sagemaker_submit_directory"])
    with (
        objects.open("bucket", uri.removeprefix("s3://bucket/")) as content,
        tarfile.open(fileobj=content, mode="r:gz") as archive,
    ):
        texts = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    assert texts == {"step.py": b"new", "other.py": b"old"}


def test_a_file_that_the_job_does_not_read_is_refused_with_what_it_reads(
    objects: MemoryObjectStore, tmp_path: Path
) -> None:
    other = tmp_path / "typo.py"
    other.write_text("")
    with pytest.raises(UsageError, match=r"reads no file typo\.py") as refused:
        with_code(objects, processing("s3://bucket/code"), PREFIX, [other])
    assert "step.py" in str(refused.value)
    with pytest.raises(UsageError, match="does not exist"):
        with_code(objects, processing("s3://bucket/code"), PREFIX, [tmp_path / "gone.py"])


@pytest.mark.parametrize(
    ("words", "shown", "rest"),
    [
        (["python3", "a.py", "x y"], 'exec "$python"  -m debugpy', ("python3", "a.py", "x y")),
        (["python3", "-u", "-m", "m"], 'exec "$python" -u -m debugpy', ("python3", "-m", "m")),
        (["train"], '"$(command -v train)"', ()),
    ],
)
def test_python_code_is_started_under_the_debugger(
    words: list[str], shown: str, rest: tuple[str, ...]
) -> None:
    command = debug_command(words)
    assert command[:2] == ("sh", "-c")
    assert shown in command[2]
    assert "--wait-for-client" in command[2]
    assert command[4:] == rest


@pytest.mark.parametrize("words", [[], ["bash", "run.sh"], ["python3"]])
def test_what_is_no_python_code_is_not_debugged(words: list[str]) -> None:
    with pytest.raises(UsageError, match="no Python program"):
        debug_command(words)
