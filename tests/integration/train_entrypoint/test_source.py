"""Where a training source comes from, and that nothing of it lands outside its folder."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = "import sys; print('trained; boto3 imported:', 'boto3' in sys.modules)"
Archive = Callable[..., bytes]


@contextmanager
def endpoint(objects: dict[str, bytes], refused: int = 404) -> Iterator[tuple[str, list[str]]]:
    """An S3 endpoint that answers unsigned requests in path style; the paths it was asked for."""
    asked: list[str] = []

    class Face(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = objects.get(self.path)
            self.send_response(200 if body is not None else refused)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Face)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL"])
def test_an_object_is_fetched_without_a_signature(
    job: Any, make_archive: Archive, variable: str
) -> None:
    job.submit("s3://bucket/a key/sourcedir.tar.gz", "train.py")
    path = "/bucket/a%20key/sourcedir.tar.gz"
    with endpoint({path: make_archive(("train.py", SCRIPT))}) as (url, asked):
        job.variables[variable] = url
        done = job.run()
    assert done.stdout == "trained; boto3 imported: False\n"
    assert asked == [path]


def test_a_missing_object_is_named(job: Any) -> None:
    job.submit("s3://bucket/none.tar.gz", "train.py")
    with endpoint({}) as (url, _):
        job.variables["AWS_ENDPOINT_URL_S3"] = url
        assert job.run().returncode == 1
    assert "s3://bucket/none.tar.gz cannot be read" in job.failure
    assert "404" in job.failure


def test_an_endpoint_that_wants_a_signature_gets_one(job: Any) -> None:
    job.submit("s3://bucket/source.tar.gz", "train.py")
    job.variables |= {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-west-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    with endpoint({}, refused=403) as (url, asked):
        job.variables["AWS_ENDPOINT_URL_S3"] = url
        assert job.run().returncode == 1
    assert len(asked) == 1  # boto3 asks by HEAD, which this endpoint does not know
    assert "cannot be read" in job.failure


def test_an_endpoint_that_does_not_answer_is_named(job: Any) -> None:
    job.submit("s3://bucket/source.tar.gz", "train.py")
    job.variables["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:1"
    assert job.run().returncode == 1
    assert "http://127.0.0.1:1" in job.failure


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_tar_on_the_disk_is_unpacked(job: Any, make_archive: Archive, prefix: str) -> None:
    packed = job.base / "packed.tar.gz"
    packed.write_bytes(make_archive(("train.py", SCRIPT)))
    job.submit(f"{prefix}{packed}", "train.py")
    assert job.run().returncode == 0


def test_a_code_folder_that_holds_something_is_left_alone(job: Any) -> None:
    job.write("train.py", "print('submitted')")
    (job.base / "code").mkdir()
    (job.base / "code" / "train.py").write_text("print('already there')")
    assert job.run().stdout == "already there\n"


def test_a_source_that_is_not_there_is_named(job: Any) -> None:
    job.submit("/no/such/source", "train.py")
    assert job.run().returncode == 1
    assert job.failure == "There is no training source at /no/such/source"


def test_a_broken_archive_is_named(job: Any) -> None:
    job.submit("s3://bucket/source.tar.gz", "train.py")
    with endpoint({"/bucket/source.tar.gz": b"no tar"}) as (url, _):
        job.variables["AWS_ENDPOINT_URL_S3"] = url
        assert job.run().returncode == 1
    assert "not a sound tar archive" in job.failure


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, str]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, ""


def special(name: str, kind: bytes) -> tuple[tarfile.TarInfo, str]:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    return entry, ""


def outside(job: Any) -> dict[str, str]:
    """Every file of the job but its code, by name."""
    base: Path = job.base.parent
    code = job.base / "code"
    files = (f for f in base.rglob("*") if f.is_file() and code not in f.parents)
    return {str(f.relative_to(base)): f.read_text(errors="replace") for f in files}


def test_nothing_lands_outside_the_code_folder(job: Any, make_archive: Archive) -> None:
    packed = job.base / "packed.tar.gz"
    packed.write_bytes(
        make_archive(
            ("train.py", "print('trained')"),
            ("../../escaped.txt", "x"),
            (str(job.base / "absolute.txt"), "x"),
            link("up", "../.."),
            ("up/through-a-link.txt", "x"),
            link("hard", "../output/failure", tarfile.LNKTYPE),
            special("pipe", tarfile.FIFOTYPE),
        )
    )
    job.submit(str(packed), "train.py")
    before = set(outside(job))
    done = job.run()
    assert (done.returncode, done.stdout) == (0, "trained\n")
    expected = {"success", "hyperparameters.json", "resourceconfig.json", "inputdataconfig.json"}
    assert {Path(name).name for name in set(outside(job)) - before} == expected
    assert (job.base / "code" / "escaped.txt").read_text() == "x"
    assert "left out of the source archive: 'up'" in done.stderr
    assert not (job.base / "code" / "pipe").exists()


def test_a_chain_of_links_leads_nowhere(job: Any, make_archive: Archive) -> None:
    packed = job.base / "packed.tar.gz"
    packed.write_bytes(
        make_archive(
            ("train.py", "print('trained')"),
            link("chain/a", "b"),
            link("chain/b", "../../.."),
            ("chain/a/through-a-chain.txt", "x"),
        )
    )
    job.submit(str(packed), "train.py")
    assert job.run().returncode == 1
    assert "cannot be unpacked" in job.failure
    assert not any("through-a-chain" in name for name in outside(job))


def test_links_inside_the_source_are_kept(job: Any, make_archive: Archive) -> None:
    packed = job.base / "packed.tar.gz"
    packed.write_bytes(make_archive(("real.py", "print('linked')"), link("train.py", "real.py")))
    job.submit(str(packed), "train.py")
    assert job.run().stdout == "linked\n"


def test_setuid_bits_are_not_unpacked(job: Any, make_archive: Archive) -> None:
    entry = tarfile.TarInfo("train.py")
    entry.mode = 0o6755
    packed = job.base / "packed.tar.gz"
    packed.write_bytes(make_archive((entry, "print()")))
    job.submit(str(packed), "train.py")
    job.run()
    assert (job.base / "code" / "train.py").stat().st_mode & 0o7777 == 0o755
