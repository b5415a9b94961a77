"""The evaluation step: the model's signature on raw rows that training never saw.

    model.tar.gz + holdout.csv → predictions → evaluation.json and predicted_actual.svg

Metrics are on the scale that the net learns (log price, say); the plot is in the target's own
unit. The model is asked as an endpoint's client would ask it: raw columns in, predictions out.
See README.md.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import math
import os
import sys
import tarfile
import tempfile

import numpy as np

MISSING = {"", "na", "n/a", "nan", "null", "none"}  # as in preprocess.py
BATCH_ROWS = 2048
ROW_MULTIPLE = 16
"""Rows are evaluated in multiples of this, as the model server does: TensorFlow's matrix products
sum the rows that fill no whole vector of the processor in another order, so that a prediction's
last bits would depend on the rows beside it."""


class EvaluationProblem(Exception):
    """One line that says why there is no evaluation."""


def load_tensorflow():
    """TensorFlow, once the input is known to be good: its import takes seconds."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without the start-up notes
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its results depend on the processor
    # The model holds no Keras objects, so Keras, which TensorFlow loads where it can (1.5 s and,
    # with scikit-learn and pandas, 4 s), may stay out. None makes its import fail as if it were
    # not installed.
    sys.modules.setdefault("keras", None)
    gc.disable()  # the import makes a million objects that stay: 0.5 s of looking for garbage
    import tensorflow

    gc.enable()
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)  # the same bits anywhere
    return tensorflow


# --- the model -------------------------------------------------------------------------------


def unpack_model(path, folder):
    """The folder that holds ``1/`` and preprocessing.json; an archive is unpacked in `folder`."""
    if os.path.isfile(os.path.join(path, "preprocessing.json")):
        return path
    archive = os.path.join(path, "model.tar.gz") if os.path.isdir(path) else path
    if not os.path.isfile(archive):
        raise EvaluationProblem(f"there is no model.tar.gz at {path}")
    try:
        with tarfile.open(archive) as tar:
            extract_safely(tar, folder)
    except (tarfile.TarError, EOFError) as error:
        raise EvaluationProblem(f"{archive} cannot be unpacked: {error}") from None
    if not os.path.isfile(os.path.join(folder, "preprocessing.json")):
        raise EvaluationProblem(f"{archive} holds no preprocessing.json: train.py did not make it")
    return folder


def extract_safely(tar, folder):
    """Only files and folders, only below `folder`: an archive is input, not to be trusted."""
    for member in tar.getmembers():
        target = os.path.realpath(os.path.join(folder, member.name))
        inside = target == os.path.realpath(folder) or target.startswith(
            os.path.realpath(folder) + os.sep
        )
        if not inside or not (member.isfile() or member.isdir()):
            raise EvaluationProblem(
                f"the model archive has an entry {member.name!r} that may not be"
            )
    options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    tar.extractall(folder, **options)


def read_preprocessing(folder):
    with open(os.path.join(folder, "preprocessing.json"), encoding="utf-8") as file:
        return json.load(file)


def predict(folder, inputs):
    """Predictions in the target's own unit, asked for in batches."""
    tf = load_tensorflow()
    try:
        model = tf.saved_model.load(os.path.join(folder, "1"))
    except OSError as error:
        raise EvaluationProblem(f"the model has no usable SavedModel in 1/: {error}") from None
    signature = model.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    rows = len(next(iter(inputs.values())))
    parts = []
    inputs = {name: filled_up(values) for name, values in inputs.items()}
    for start in range(0, rows, BATCH_ROWS):
        batch = {
            name: tf.constant(values[start : start + BATCH_ROWS], specs[name].dtype)
            for name, values in inputs.items()
        }
        parts.append(signature(**batch)["prediction"].numpy())
    return np.concatenate(parts)[:rows].astype(np.float64)


def filled_up(values):
    """The values, and the last of them again up to a multiple of ROW_MULTIPLE."""
    values = list(values)
    return values + values[-1:] * (-len(values) % ROW_MULTIPLE)


# --- the rows --------------------------------------------------------------------------------


def read_holdout(path, preprocessing):
    """The signature's input tensors by name, and the actual target."""
    path = os.path.join(path, "holdout.csv") if os.path.isdir(path) else path
    if not os.path.isfile(path):
        raise EvaluationProblem(f"there is no holdout.csv at {path}")
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        rows = [row for row in reader if row]
    if not rows:
        raise EvaluationProblem(f"{path} has no rows")
    inputs = {}
    for row in preprocessing["inputs"]:
        read = numbers if row["type"] == "number" else cells
        inputs[row["name"]] = read(header, rows, row["column"])
    return inputs, numbers(header, rows, preprocessing["target"]["column"])


def cells(header, rows, column):
    if column not in header:
        raise EvaluationProblem(f"the holdout has no column {column!r}, only {', '.join(header)}")
    position = header.index(column)
    return [row[position] for row in rows]


def numbers(header, rows, column):
    """A column as floats, NaN where nothing is given."""
    texts = cells(header, rows, column)
    try:
        return np.array([math.nan if text.lower() in MISSING else float(text) for text in texts])
    except ValueError as error:
        raise EvaluationProblem(f"the holdout's column {column!r}: {error}") from None


# --- metrics ---------------------------------------------------------------------------------


def regression_metrics(actual, predicted):
    """The lab's report, with mae and r2; fsum, so that no library's order of sums shows."""
    count = len(actual)
    errors = actual - predicted
    mse = math.fsum(errors**2) / count
    mean_error = math.fsum(errors) / count
    spread = math.fsum((actual - math.fsum(actual) / count) ** 2) / count
    values = {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": math.fsum(abs(errors)) / count,
        "r2": 1 - mse / spread if spread > 0 else 0.0,
        "standard_deviation": math.sqrt(math.fsum((errors - mean_error) ** 2) / count),
    }
    return {"regression_metrics": {name: {"value": value} for name, value in values.items()}}


# --- the plot --------------------------------------------------------------------------------

SIZE = 480  # of the square of the axes, in px
LEFT, TOP, RIGHT, BOTTOM = 72, 64, 24, 56
HEX_RADIUS = 5.0
CLASSES = 6  # of density
MIDDLE, END = 'text-anchor="middle"', 'text-anchor="end"'

STYLE = """
.predicted-actual{--surface:#ffffff;--text:#1d2733;--muted:#5f6b78;--line:#e3e7ec;--ideal:#e8590c;--d1:#cfe2f7;
--d2:#9dc4ee;--d3:#68a3e2;--d4:#3a80cf;--d5:#1f5ca6;--d6:#0e3a72;
font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}
@media (prefers-color-scheme:dark){.predicted-actual{--surface:#14191f;--text:#e6ebf0;
--muted:#98a4b1;--line:#29323c;--ideal:#ff922b;--d1:#1d4876;--d2:#1f5490;--d3:#2f74bf;--d4:#5b9be0;--d5:#9cc5f2;
--d6:#e0effd}}
.predicted-actual .title{font-size:16px;font-weight:600;fill:var(--text)}
.predicted-actual .label{font-size:12px;fill:var(--text)}
.predicted-actual .note{font-size:11px;fill:var(--muted);font-variant-numeric:tabular-nums}
.predicted-actual .grid{stroke:var(--line);fill:none}
.predicted-actual .ideal{stroke:var(--ideal);stroke-width:1.25;stroke-dasharray:5 4;fill:none}
"""


class Axis:
    """One scale for both axes: the actual values, the predictions that are not far off, and 3 %."""

    def __init__(self, actual, predicted, transform):
        low, high = float(actual.min()), float(actual.max())
        near = (high - low) * 0.2
        low = min(low, max(float(predicted.min()), low - near))
        high = max(high, min(float(predicted.max()), high + near))
        margin = (high - low) * 0.03 or 1.0
        self.low, self.high, self.transform = low - margin, high + margin, transform

    def position(self, values):
        """0 to SIZE for the range; beyond it, the edge."""
        return np.clip((values - self.low) / (self.high - self.low), 0, 1) * SIZE

    def ticks(self):
        """Position and text of round values in the target's own unit."""
        if self.transform == "log":
            candidates = [digit * 10.0**power for power in range(-12, 16) for digit in (1, 2, 5)]
            scaled = [(math.log(value), value) for value in candidates]
        else:
            step = round_step((self.high - self.low) / 6)
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            scaled = [(number * step, number * step) for number in range(first, last + 1)]
        inside = [(place, value) for place, value in scaled if self.low <= place <= self.high]
        inside = inside[:: max(1, math.ceil(len(inside) / 9))]
        return [
            (float(self.position(np.array(place))), f"{value:,.12g}") for place, value in inside
        ]


def round_step(step):
    power = 10.0 ** math.floor(math.log10(step))
    return next(digit * power for digit in (1, 2, 5, 10) if step <= digit * power * 1.0000001)


def count_hexagons(x, y):
    """Centres of a hexagonal grid's cells (in px) and how many points each holds."""
    width, height = math.sqrt(3) * HEX_RADIUS, 1.5 * HEX_RADIUS
    row = np.round(y / height)
    shift = (row % 2) * 0.5
    column = np.round(x / width - shift)
    # Rounding takes the nearest cell of the nearest row; the next row's may be nearer.
    other = row + np.where(y / height > row, 1, -1)
    other_shift = (other % 2) * 0.5
    other_column = np.round(x / width - other_shift)
    here = (x - (column + shift) * width) ** 2 + (y - row * height) ** 2
    there = (x - (other_column + other_shift) * width) ** 2 + (y - other * height) ** 2
    row = np.where(there < here, other, row)
    column = np.where(there < here, other_column, column)
    cells_found, counts = np.unique(np.stack([row, column], axis=1), axis=0, return_counts=True)
    centres = [
        ((column + (row % 2) * 0.5) * width, row * height) for row, column in cells_found.tolist()
    ]
    return centres, counts.tolist()


def density_class(count, most):
    """1 to CLASSES on a log scale, so that single points show beside cells of hundreds."""
    return 1 + min(CLASSES - 1, int(math.log(count) / math.log(most + 1) * CLASSES))


def hexagon_paths(x, y):
    centres, counts = count_hexagons(x, y)
    most = max(counts)
    radius = HEX_RADIUS - 0.4  # a gap between cells
    half, side = round(radius * math.sqrt(3) / 2, 1), round(radius, 1)
    outline = f"l{half},{side / 2:g}v{side:g}l-{half},{side / 2:g}l-{half},-{side / 2:g}v-{side:g}z"
    paths = {number: [] for number in range(1, CLASSES + 1)}
    for (across, up), count in zip(centres, counts):
        start = f"M{across:.1f},{SIZE - up - side:.1f}"
        paths[density_class(count, most)].append(start + outline)
    drawn = [
        f'<path fill="var(--d{number})" d="{"".join(parts)}"/>'
        for number, parts in paths.items()
        if parts
    ]
    return drawn, most


def grid(axis):
    parts = []
    for place, text in axis.ticks():
        up = SIZE - place
        parts.append(f'<path class="grid" d="M{place:.1f},0V{SIZE}M0,{up:.1f}H{SIZE}"/>')
        parts.append(f'<text class="note" x="{place:.1f}" y="{SIZE + 18}" {MIDDLE}>{text}</text>')
        parts.append(f'<text class="note" x="-8" y="{up + 4:.1f}" {END}>{text}</text>')
    return parts


def legend(most):
    """The scale of density, in the corner that predictions hardly reach."""
    left, top = SIZE - 12 - CLASSES * 22, SIZE - 42
    parts = [
        f'<rect x="{left + 22 * number}" y="{top}" width="21" height="9" rx="2" '
        f'fill="var(--d{number + 1})"/>'
        for number in range(CLASSES)
    ]
    parts.append(f'<text class="note" x="{left}" y="{top - 6}">rows in a cell</text>')
    parts.append(f'<text class="note" x="{left}" y="{top + 23}">1</text>')
    parts.append(f'<text class="note" x="{SIZE - 13}" y="{top + 23}" {END}>{most:,}</text>')
    return parts


def draw_plot(actual, predicted, target, metrics):
    """A self-contained SVG: density of predicted against actual values, light and dark."""
    axis = Axis(actual, predicted, target["transform"])
    beyond = int(((predicted < axis.low) | (predicted > axis.high)).sum())
    hexagons, most = hexagon_paths(axis.position(actual), axis.position(predicted))
    name = escape(target["column"] + (f", {target['unit']}" if target.get("unit") else ""))
    scale = " (log scale)" if target["transform"] == "log" else ""
    values = {key: row["value"] for key, row in metrics["regression_metrics"].items()}
    summary = f"{len(actual):,} test rows · mse {values['mse']:.4f} · r² {values['r2']:.3f}"
    if beyond:
        summary += f" · {beyond:,} beyond the axis, drawn at its edge"
    width, height = LEFT + SIZE + RIGHT, TOP + SIZE + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="predicted-actual" role="img" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>Predicted against actual {name}</title><desc>{summary}</desc>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="var(--surface)"/>',
        f'<g transform="translate({LEFT},{TOP})">',
        f'<text class="title" y="-36">Predicted against actual {escape(target["column"])}</text>',
        f'<text class="note" y="-13.5">{summary}</text>',
        *grid(axis),
        *hexagons,
        f'<path class="ideal" d="M0,{SIZE}L{SIZE},0"/>',
        *legend(most),
        f'<text class="label" x="{SIZE / 2}" y="{SIZE + 42}" {MIDDLE}>actual {name}{scale}</text>',
        f'<text class="label" transform="translate(-56,{SIZE / 2}) rotate(-90)" {MIDDLE}>'
        f"predicted {name}{scale}</text>",
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# --- the command -----------------------------------------------------------------------------


def evaluate(model_path, holdout, output):
    """Load, predict, measure, draw. Raises EvaluationProblem."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpack_model(model_path, temporary)
        preprocessing = read_preprocessing(folder)
        target = preprocessing["target"]
        inputs, actual = read_holdout(holdout, preprocessing)
        say(f"{len(actual):,} rows from {preprocessing['dataset']} that training never saw")
        predicted = predict(folder, inputs)
    if target["transform"] == "log":
        actual, predicted = np.log(actual), np.log(predicted)
    if not np.isfinite(predicted).all():
        wrong = int((~np.isfinite(predicted)).sum())
        raise EvaluationProblem(f"the model predicts no finite number for {wrong:,} rows")
    metrics = regression_metrics(actual, predicted)
    write(output, "evaluation.json", json.dumps(metrics, indent=2) + "\n")
    write(output, "predicted_actual.svg", draw_plot(actual, predicted, target, metrics))
    values = {name: row["value"] for name, row in metrics["regression_metrics"].items()}
    say(" ".join(f"{name}={value:.6g}" for name, value in values.items()))
    say(f"detail: mse {values['mse']:.4f} · r² {values['r2']:.3f}")


def write(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def say(line):
    print(line, flush=True)


def report_failure(base, message):
    """One line on stderr, and in the file that SageMaker shows as the job's exit message."""
    print(message, file=sys.stderr, flush=True)
    if os.path.isdir(base):
        os.makedirs(os.path.join(base, "output"), exist_ok=True)
        with open(os.path.join(base, "output", "message"), "w", encoding="utf-8") as file:
            file.write(message)


def parse_arguments(argv, base):
    processing = os.path.join(base, "processing")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        default=os.path.join(processing, "input", "model"),
        help="model.tar.gz, its folder, or the folder that it was made of",
    )
    parser.add_argument(
        "--holdout",
        default=os.path.join(processing, "input", "holdout"),
        help="holdout.csv or its folder",
    )
    parser.add_argument(
        "--output",
        default=os.path.join(processing, "output", "evaluation"),
        help="the folder for evaluation.json and predicted_actual.svg",
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Run the step; 0 when there is an evaluation, 1 when there is none."""
    base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    arguments = parse_arguments(argv, base)
    try:
        evaluate(arguments.model, arguments.holdout, arguments.output)
    except EvaluationProblem as problem:
        report_failure(base, str(problem))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
