from pathlib import Path

import pytest

from mlops.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DIAMONDS = ROOT / "local_data/diamonds/dataset.json"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", dataset=DIAMONDS)
