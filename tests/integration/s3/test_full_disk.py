"""A disk that is really full: a small tmpfs in a mount namespace, where one is allowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_FILL = """
import sys
from pathlib import Path
from mlops.errors import DiskFull
from mlops.stores.objects import FileObjectStore

root = Path(sys.argv[1])
store = FileObjectStore(root / "objects")
store.create_bucket("bucket")
written, refusals = [], 0
for number in range(20_000):
    key = f"k/{number:05d}"
    try:
        store.put("bucket", key, key.encode() * 5000, metadata={"key": key})
        written.append(key)
    except DiskFull as error:
        assert "make room" in str(error)
        refusals += 1
        if refusals > 20:
            break
assert refusals > 20 and len(written) > 50

listed = list(store.list("bucket"))
assert [info.key for info in listed] == written
for info in listed:
    assert info.metadata == {"key": info.key}
    assert store.open("bucket", info.key).read() == info.key.encode() * 5000
staged = [path for path in (root / "objects/.meta/staging").rglob("*") if path.is_file()]
assert [path.suffix for path in staged] == [".lock"], staged

for key in written:
    store.delete("bucket", key)
assert list(store.list("bucket")) == []
store.put("bucket", "after", b"there is room again")
print("done")
"""


def test_a_full_disk_loses_nothing_and_deletes_make_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=12m none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    script = tmp_path / "fill.py"
    script.write_text(_FILL)
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && exec {sys.executable} {script} {disk}"],
        capture_output=True,
        text=True,
    )
    assert run.stdout == "done\n", run.stderr
