"""Folders that go to S3 while their job still writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.execution.failures import StepFailure
from mlops.execution.outputs import FolderSync, upload_folders
from mlops.stores.objects import FileObjectStore


class Place:
    def __init__(self, tmp_path: Path) -> None:
        self.objects = FileObjectStore(tmp_path / "objects")
        self.objects.create_bucket("bucket")
        self.base = tmp_path / "ml"
        self.folder = self.base / "out"
        self.folder.mkdir(parents=True)
        self.sync = FolderSync(self.objects, self.folder, self.base, "s3://bucket/o")

    def stored(self) -> dict[str, str]:
        found = {}
        for info in self.objects.list("bucket"):
            with self.objects.open("bucket", info.key) as file:
                found[info.key] = file.read().decode()
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file_is_uploaded_once_it_stands_still(place: Place) -> None:
    (place.folder / "a").write_text("half")
    place.sync.look()
    assert place.stored() == {}
    (place.folder / "a").write_text("half and more")
    place.sync.look()
    assert place.stored() == {}
    place.sync.look()
    assert place.stored() == {"o/a": "half and more"}


def test_a_change_is_uploaded_again_and_a_file_that_is_gone_stays(place: Place) -> None:
    (place.folder / "a").write_text("1")
    (place.folder / "b").write_text("b")
    place.sync.look()
    place.sync.look()
    (place.folder / "a").write_text("22")
    (place.folder / "b").unlink()
    place.sync.finish()
    assert place.stored() == {"o/a": "22", "o/b": "b"}


def test_what_came_from_s3_is_not_sent_back(place: Place) -> None:
    (place.folder / "a").write_text("from there")
    place.sync.assume_uploaded()
    place.sync.look()
    place.sync.look()
    place.sync.finish()
    assert place.stored() == {}


def test_the_end_uploads_what_no_look_has_seen(place: Place) -> None:
    (place.folder / "a").write_text("late")
    place.sync.finish()
    assert place.stored() == {"o/a": "late"}


def test_a_link_out_waits_for_the_end_and_is_refused_there(place: Place) -> None:
    (place.folder / "a").symlink_to("/etc/hostname")
    place.sync.look()
    with pytest.raises(StepFailure, match="a is a symbolic link to /etc/hostname"):
        place.sync.finish()


def test_files_are_moved_and_what_has_several_names_is_copied(place: Place) -> None:
    (place.folder / "deep").mkdir()
    (place.folder / "deep" / "b").write_text("b")
    (place.folder / "a").write_text("a")
    (place.folder / "link").symlink_to("a")
    (place.folder / "folder").symlink_to("deep")
    (place.folder / "alone").write_text("alone")
    upload_folders(place.objects, place.base, [(place.folder, "s3://bucket/x/")])
    assert place.stored() == {
        "x/a": "a",
        "x/alone": "alone",
        "x/deep/b": "b",
        "x/folder/b": "b",
        "x/link": "a",
    }
    assert not (place.folder / "alone").exists()


def test_an_output_within_an_output_is_in_both(place: Place) -> None:
    (place.folder / "inner").mkdir()
    (place.folder / "inner" / "f").write_text("f")
    outputs = [(place.folder, "s3://bucket/all"), (place.folder / "inner", "s3://bucket/one")]
    upload_folders(place.objects, place.base, outputs)
    assert place.stored() == {"all/inner/f": "f", "one/f": "f"}


def test_a_link_out_leaves_everything_where_it_is(place: Place) -> None:
    (place.folder / "a").write_text("a")
    (place.folder / "z").symlink_to("/etc/hostname")
    with pytest.raises(StepFailure, match="z is a symbolic link"):
        upload_folders(place.objects, place.base, [(place.folder, "s3://bucket/x")])
    assert place.stored() == {}
    assert (place.folder / "a").exists()
