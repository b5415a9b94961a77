"""The notebook that walks through the lab, run from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mlops import app
from mlops.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]
NOTEBOOK = REPOSITORY / "docs" / "lab.ipynb"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A state folder of the notebook's own, whose gateway is gone afterwards."""
    folder = tmp_path / "store"
    monkeypatch.setenv("MLOPS_STORE", str(folder))
    monkeypatch.setenv("MLOPS_RUNTIME", "process")
    yield folder
    app.stop_gateway(Settings.load(folder=REPOSITORY))


def texts(cell):
    """What a cell has printed and shown."""
    found = [output.get("text", "") for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return "\n".join(found + [str(item.get("text/plain", "")) for item in data])


def test_the_notebook_runs_and_shows_what_it_says(store):
    assert os.environ["MLOPS_STORE"] == str(store)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=240, resources=resources).execute()
    shown = {cell["id"]: texts(cell) for cell in notebook.cells if cell.cell_type == "code"}
    everything = "\n".join(shown.values())
    assert "Succeeded" in everything
    assert "Register-RegisterModel" in everything
    assert "Execution failed due to MSE greater than" in everything
    assert "passed" in everything
    assert "SVG" in everything


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert all(cell.get("execution_count") is None for cell in notebook.cells)
