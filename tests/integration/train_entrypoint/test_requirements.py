"""requirements.txt: what is missing is installed, once where a cache is given, from wheels here."""

from __future__ import annotations

import importlib.metadata
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest


def make_wheel(folder: Path, name: str, version: str, *, needs: str = "", body: str = "") -> Path:
    """A wheel with one module of that name, and a script `say-NAME`."""
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": body or f"version = '{version}'\ndef main(): print('said {name}')\n",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\nsay-{name} = {name}:main\n",
    }
    with zipfile.ZipFile(wheel, "w") as packed:
        for path, text in files.items():
            packed.writestr(path, text)
        packed.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in files))
    return wheel


@pytest.fixture
def wheels(tmp_path: Path, job: Any) -> Path:
    """A folder of wheels that is pip's only index."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "greeting", "1.0", needs="politeness>=2")
    make_wheel(folder, "politeness", "2.1")
    job.variables |= only(folder)
    return folder


def only(folder: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


USES = "import greeting, politeness; print(greeting.version, politeness.version)"


@pytest.mark.usefixtures("wheels")
def test_what_the_source_asks_for_is_there(job: Any) -> None:
    job.write("requirements.txt", "greeting\n")
    job.write("train.py", USES + "\nimport subprocess; subprocess.run(['say-greeting'])")
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert "1.0 2.1\n" in done.stdout
    assert "said greeting\n" in done.stdout
    assert "train: installing greeting==1.0 politeness==2.1" in done.stdout


@pytest.mark.usefixtures("wheels")
def test_what_the_image_has_is_not_installed_again(job: Any) -> None:
    numpy = importlib.metadata.version("numpy")
    job.write("requirements.txt", "numpy\npoliteness\n")
    job.write("train.py", "import numpy; print(numpy.__version__)")
    done = job.run()
    assert "train: installing politeness==2.1\n" in done.stdout
    assert done.stdout.endswith(f"{numpy}\n")


@pytest.mark.usefixtures("wheels")
def test_a_cache_installs_once_and_then_needs_no_index(job: Any, tmp_path: Path) -> None:
    job.variables["MLOPS_REQUIREMENTS_CACHE"] = str(tmp_path / "cache")
    job.write("requirements.txt", "greeting\n")
    job.write("train.py", USES)
    assert "installing" in job.run().stdout
    job.variables["PIP_FIND_LINKS"] = "/none"
    again = job.run()
    assert (again.returncode, again.stdout) == (0, "1.0 2.1\n")
    assert [f.name for f in (tmp_path / "cache").iterdir() if f.name.startswith(".")] == []


def test_a_changed_requirement_is_installed_anew(
    make_job: Any, wheels: Path, tmp_path: Path
) -> None:
    make_wheel(wheels, "politeness", "2.5")
    for version in ("2.1", "2.5"):
        job = make_job(version)
        job.variables = {"MLOPS_REQUIREMENTS_CACHE": str(tmp_path / "cache"), **only(wheels)}
        job.write("requirements.txt", f"politeness=={version}\n")
        job.write("train.py", "import politeness; print(politeness.version)")
        assert job.run().stdout.endswith(f"\n{version}\n")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_two_jobs_at_once_fill_one_cache(make_job: Any, wheels: Path, tmp_path: Path) -> None:
    jobs = [make_job("one"), make_job("other")]
    for job in jobs:
        job.variables = {"MLOPS_REQUIREMENTS_CACHE": str(tmp_path / "cache"), **only(wheels)}
        job.write("requirements.txt", "greeting\n")
        job.write("train.py", USES)
    processes = [job.start() for job in jobs]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.usefixtures("wheels")
def test_a_wheel_in_the_source_can_be_required(job: Any, tmp_path: Path) -> None:
    job.variables["MLOPS_REQUIREMENTS_CACHE"] = str(tmp_path / "cache")
    make_wheel(job.source, "inhouse", "0.1")
    job.write("requirements.txt", "./inhouse-0.1-py3-none-any.whl\n")
    job.write("train.py", "import inhouse; print(inhouse.version)")
    done = job.run()
    assert done.stdout.endswith("0.1\n"), done.stderr


@pytest.mark.usefixtures("wheels")
def test_an_index_named_in_the_file_is_used(job: Any, tmp_path: Path) -> None:
    make_wheel(tmp_path / "others", "elsewhere", "3.0")
    job.write("requirements.txt", f"--find-links {tmp_path / 'others'}\nelsewhere\n")
    job.write("train.py", "import elsewhere; print(elsewhere.version)")
    assert job.run().stdout.endswith("3.0\n")


@pytest.mark.usefixtures("wheels")
def test_a_requirement_that_is_not_to_be_had_fails_the_job(job: Any, tmp_path: Path) -> None:
    job.variables["MLOPS_REQUIREMENTS_CACHE"] = str(tmp_path / "cache")
    job.write("requirements.txt", "no-such-package\n")
    job.write("train.py", "print('not reached')")
    done = job.run()
    assert done.returncode == 1
    assert "not reached" not in done.stdout
    assert job.failure.startswith("InstallRequirementsError:\nExitCode 1\n")
    assert "no-such-package" in job.failure
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.usefixtures("wheels")
def test_a_package_runs_as_a_module(job: Any) -> None:
    job.variables["PIP_NO_BUILD_ISOLATION"] = "0"  # pip's spelling of: build with what is here
    job.write(
        "setup.py",
        "from setuptools import setup\n"
        "setup(name='trainer', version='1', py_modules=['trainer'],"
        " install_requires=['politeness'])",
    )
    job.write("trainer.py", "import politeness; print(__name__, politeness.version)")
    job.submit(str(job.source), "trainer.py")
    done = job.run()
    assert done.stdout.endswith("__main__ 2.1\n"), done.stderr
