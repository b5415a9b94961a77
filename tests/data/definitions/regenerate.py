"""Compile the lab's pipeline anew into lab.json.

    .venv/bin/python tests/data/definitions/regenerate.py

Account 000000000000, region us-east-1, the Diamonds data. Tests read the file
as an example of what the SDK emits; it need not follow every change of the step code.
"""

import json
from pathlib import Path

from mlops.sessions.local import CompileSession
from mlops.settings import Settings

from mlops.pipeline import build_pipeline  # isort: skip  # after the session

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    settings = Settings(dataset=here.parents[2] / "local_data/diamonds/dataset.json")
    definition = build_pipeline(CompileSession(settings), settings).definition()
    text = json.dumps(json.loads(definition), indent=2, ensure_ascii=False) + "\n"
    (here / "lab.json").write_text(text, encoding="utf-8")
