"""The step's own code: reads numbers, writes their doubles."""

import os
import pathlib

base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "processing"
numbers = (base / "input/numbers.txt").read_text().split()
(base / "output/doubles.txt").write_text("\n".join(str(2 * int(each)) for each in numbers))
print(f"doubled {len(numbers)} numbers")
