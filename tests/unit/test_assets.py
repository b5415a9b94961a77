import io
import tarfile
from pathlib import Path

from mlops.assets import Asset, pack_source, source_checksum, source_files


def make_folder(root: Path) -> Path:
    (root / "package" / "__pycache__").mkdir(parents=True)
    (root / "train.py").write_text("print(1)\n")
    (root / "package" / "model.py").write_text("")
    (root / "package" / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"\0")
    return root


def test_source_files_are_sorted_and_leave_byte_code_out(tmp_path: Path) -> None:
    assert list(source_files(make_folder(tmp_path))) == ["package/model.py", "train.py"]


def test_checksum_and_archive_do_not_depend_on_the_place(tmp_path: Path) -> None:
    one, two = make_folder(tmp_path / "one"), make_folder(tmp_path / "elsewhere" / "two")
    assert source_checksum(source_files(one)) == source_checksum(source_files(two))
    assert pack_source(source_files(one)) == pack_source(source_files(two))


def test_checksum_changes_with_content_and_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    before = source_checksum(source_files(folder))
    (folder / "train.py").write_text("print(2)\n")
    edited = source_checksum(source_files(folder))
    (folder / "train.py").rename(folder / "fit.py")
    assert len({before, edited, source_checksum(source_files(folder))}) == 3


def test_archive_holds_the_files(tmp_path: Path) -> None:
    packed = io.BytesIO(pack_source(source_files(make_folder(tmp_path))))
    with tarfile.open(fileobj=packed, mode="r:gz") as archive:
        assert archive.getnames() == ["package/model.py", "train.py"]
        train = archive.extractfile("train.py")
        assert train is not None
        assert train.read() == b"print(1)\n"


def test_an_assets_uri() -> None:
    assert Asset("bucket", "a/b", b"").uri == "s3://bucket/a/b"
