"""The training step: a dense net on the prepared splits; out comes a SavedModel for raw rows.

    train.csv, validation.csv → fit with early stopping → net + preprocessing.json → SavedModel

The SavedModel's signature ``serving_default`` takes the raw columns, one tensor for each (float32
for numbers, string for words, shape [rows]), and answers ``prediction`` in the target's own unit:
cleaning, imputing, scaling and one-hot coding are in the graph. It holds no Keras objects.
Beside it lies its fast path: the same graph for LiteRT, which a server can run without TensorFlow,
and fast_path.json, which says whether it predicts the same.
The same seed gives the same weights bit for bit, on any number of processors. See README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import math
import os
import sys
import tempfile

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without the start-up notes
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its results depend on the processor
    # Keras imports these where they are installed, for adapters that this script does not use:
    # 2 s and more of its start. None makes an import fail as if they were not there.
    for unused in ("pandas", "sklearn"):
        sys.modules.setdefault(unused, None)
    gc.disable()  # the imports make a million objects that stay: 0.5 s of looking for garbage

import numpy as np
import tensorflow as tf

gc.enable()

# Keras leaves Python for each execution; the steps within one run in the graph. The numbers are
# the same for every value; 16 takes 0.10 s for 150 steps where 1 takes 0.17 s.
STEPS_PER_EXECUTION = 16


class TrainingProblem(Exception):
    """One line that says why there is no model."""


# --- data ------------------------------------------------------------------------------------


def read_split(folder, name, features):
    """Features and target of a split, as 32-bit floats."""
    path = os.path.join(folder, f"{name}.csv")
    if not os.path.isfile(path):
        raise TrainingProblem(f"channel {name} has no {name}.csv: {folder}")
    try:
        values = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32, ndmin=2)
    except ValueError as error:
        raise TrainingProblem(f"{path} is not what preprocess.py writes: {error}") from None
    if values.shape[0] == 0 or values.shape[1] != 1 + features:
        raise TrainingProblem(
            f"{path} has {values.shape[0]} rows of {values.shape[1]} columns; preprocessing.json "
            f"describes a target and {features} features"
        )
    return values[:, 1:], values[:, 0]


def read_preprocessing(folder):
    path = os.path.join(folder, "preprocessing.json")
    if not os.path.isfile(path):
        raise TrainingProblem(f"channel preprocessing has no preprocessing.json: {folder}")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def batches(features, target, batch_size, seed=None):
    """The rows in batches, cached in memory; shuffled anew for each epoch when there is a seed."""
    dataset = tf.data.Dataset.from_tensor_slices((features, target)).cache()
    if seed is not None:
        dataset = dataset.shuffle(len(target), seed=seed)
    return dataset.batch(batch_size).prefetch(2)


# --- fit -------------------------------------------------------------------------------------


def make_reproducible(seed):
    """One result for a seed, whatever machine: seeded, deterministic, in one thread.

    Threads share the work of a large matrix product, so that the order of its sums, and with it
    the last bits, depend on their number: measured with 512 units and batches of 4,096. Nets of
    the default size gain no time by them.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build_net(inputs, layers, units, start):
    """Dense layers; the output begins at `start`, the target's mean, instead of at 0."""
    net = [tf.keras.layers.Input((inputs,))]
    net += [tf.keras.layers.Dense(units, activation="relu") for _ in range(layers)]
    net += [tf.keras.layers.Dense(1, bias_initializer=tf.keras.initializers.Constant(start))]
    return tf.keras.Sequential(net)


class Progress(tf.keras.callbacks.Callback):
    """A line for each epoch, in the form that the metric definitions read."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        say(
            f"epoch {epoch + 1} of {self.epochs} · "
            f"train_loss={logs['loss']:.5g} val_loss={logs['val_loss']:.5g}"
        )


def fit(arguments, train, validation):
    """The fitted net with its best epoch's weights, that epoch's number and validation loss."""
    features, target = train
    steps = math.ceil(len(target) / arguments.batch_size)
    net = build_net(features.shape[1], arguments.layers, arguments.units, float(target.mean()))
    # A rate that falls to nothing along a cosine gets further in the same number of epochs.
    rate = tf.keras.optimizers.schedules.CosineDecay(
        arguments.learning_rate, steps * arguments.epochs
    )
    net.compile(
        optimizer=tf.keras.optimizers.Adam(rate),
        loss="mse",
        jit_compile=False,
        steps_per_execution=min(steps, STEPS_PER_EXECUTION),
    )
    history = net.fit(
        batches(features, target, arguments.batch_size, arguments.seed),
        validation_data=batches(*validation, batch_size=4096),
        epochs=arguments.epochs,
        shuffle=False,  # the data set does it
        verbose=0,
        callbacks=[
            tf.keras.callbacks.TerminateOnNaN(),
            tf.keras.callbacks.EarlyStopping(
                "val_loss", patience=arguments.patience, restore_best_weights=True
            ),
            Progress(arguments.epochs),
        ],
    )
    losses = history.history.get("val_loss", [])
    if not losses or not all(math.isfinite(loss) for loss in losses):
        raise TrainingProblem(
            f"the loss is no longer a number after epoch {len(losses)}; "
            f"lower learning_rate ({arguments.learning_rate:g})"
        )
    best = min(range(len(losses)), key=losses.__getitem__)
    return net, best + 1, losses[best]


# --- export ----------------------------------------------------------------------------------


class RawRowModel(tf.Module):
    """Raw columns in, predictions in the target's own unit out."""

    def __init__(self, net, preprocessing):
        super().__init__()
        self._preprocessing = json.dumps(preprocessing)  # as text: tf.Module tracks containers
        self.kernels = [tf.Variable(layer.kernel, trainable=False) for layer in net.layers]
        self.biases = [tf.Variable(layer.bias, trainable=False) for layer in net.layers]

    def signature(self):
        """The function for ``serving_default``: one named tensor for each raw column."""
        preprocessing = json.loads(self._preprocessing)
        kinds = {"number": tf.float32, "text": tf.string}
        specs = {
            row["name"]: tf.TensorSpec([None], kinds[row["type"]], name=row["name"])
            for row in preprocessing["inputs"]
        }

        @tf.function(autograph=False)
        def predict(**inputs):
            columns = {row["column"]: inputs[row["name"]] for row in preprocessing["inputs"]}
            return {"prediction": self.prediction(columns, preprocessing, words_to_hot)}

        return predict.get_concrete_function(**specs)

    def fast_function(self):
        """The same for LiteRT, which compares no words: they come as positions in their lists.

        One tensor of the numbers (float32) and one of the positions (int32; -1 for a word that is
        in no list), with a column for each row of preprocessing.json's `numeric` and
        `categorical`. A kind that the model does not take has no tensor.
        """
        preprocessing = json.loads(self._preprocessing)
        names = {kind: [row["column"] for row in preprocessing[kind]] for kind in KINDS}
        specs = {
            kind: tf.TensorSpec([None, len(names[kind])], dtype, name=kind)
            for kind, dtype in KINDS.items()
            if names[kind]
        }

        @tf.function(autograph=False)
        def predict(**inputs):
            columns = {
                name: values
                for kind, tensor in inputs.items()
                for name, values in zip(names[kind], tf.unstack(tensor, axis=1))
            }
            return self.prediction(columns, preprocessing, positions_to_hot)

        return predict.get_concrete_function(**specs)

    def prediction(self, columns, preprocessing, to_hot):
        output = self.net(raw_to_features(columns, preprocessing, to_hot))
        return tf.exp(output) if preprocessing["target"]["transform"] == "log" else output

    def net(self, features):
        """The Keras net's own arithmetic, without Keras: loading the model does not need it."""
        values = features
        for kernel, bias in zip(self.kernels[:-1], self.biases[:-1]):
            values = tf.nn.relu(tf.matmul(values, kernel) + bias)
        return tf.squeeze(tf.matmul(values, self.kernels[-1]) + self.biases[-1], axis=1)


def raw_to_features(columns, preprocessing, to_hot):
    """What preprocess.py does to a row, as a graph."""
    parts = [standardised(columns[row["column"]], row) for row in preprocessing["numeric"]]
    features = [tf.stack(parts, axis=1)] if parts else []
    for row in preprocessing["categorical"]:
        features.append(tf.cast(to_hot(columns[row["column"]], row["values"]), tf.float32))
    return tf.concat(features, axis=1)


def words_to_hot(words, values):
    return tf.equal(tf.expand_dims(tf.strings.strip(words), 1), tf.constant([values]))


def positions_to_hot(positions, values):
    return tf.equal(tf.expand_dims(positions, 1), tf.range(len(values))[tf.newaxis])


def standardised(values, fitted):
    impossible = tf.logical_not(tf.math.is_finite(values))
    if fitted["zero_is_missing"]:
        impossible |= tf.equal(values, 0.0)
    if fitted["transform"] == "log":
        impossible |= values <= 0.0
    if fitted["minimum"] is not None:
        impossible |= values < fitted["minimum"]
    if fitted["maximum"] is not None:
        impossible |= values > fitted["maximum"]
    filled = tf.where(impossible, tf.constant(fitted["median"], tf.float32), values)
    scaled = tf.math.log(filled) if fitted["transform"] == "log" else filled
    return (scaled - fitted["mean"]) / fitted["scale"]


def export(net, preprocessing, validation, model_dir):
    """`1/`, the form that TensorFlow Serving expects, preprocessing.json and the fast path."""
    model = RawRowModel(net, preprocessing)
    signature = model.signature()
    tf.saved_model.save(
        model, os.path.join(model_dir, "1"), signatures={"serving_default": signature}
    )
    write_json(model_dir, "preprocessing.json", preprocessing)
    try:
        checked = export_fast_path(model, signature, preprocessing, validation[0], model_dir)
    except Exception as error:  # noqa: BLE001 (there is a model all the same; told, and recorded)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        checked = {"status": "absent", "reason": reason}
    write_json(model_dir, "fast_path.json", checked)
    say("fast path: " + describe(checked))


def write_json(folder, name, document):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


# --- the fast path ---------------------------------------------------------------------------

KINDS = {"numeric": tf.float32, "categorical": tf.int32}
FAST_PATH = "fast_path.tflite"

LARGEST_DIFFERENCE = 5e-5
"""Up to this a prediction of the fast path counts as equal: relative to the SavedModel's, or to the
spread of all predictions where that is larger. Measured: 4e-6, and 8e-6 with 512 units: 32 bits are
rounded in another order, and exp() makes a difference of logarithms a relative one."""

NO_WORD = "a word of no list"
EXAMPLES = 16
"""Rows that go into fast_path.json with their predictions: a server checks itself with them."""


def export_fast_path(model, signature, preprocessing, features, model_dir):
    """Write the LiteRT model; what fast_path.json says of it.

    It is compared with the SavedModel's signature on the validation split's rows, and on some with
    values that need cleaning.
    """
    columns, count = raw_rows(features, preprocessing), len(features)
    add_rows_to_clean(columns, preprocessing)
    with quiet():
        content = tf.lite.TFLiteConverter.from_concrete_functions(
            [model.fast_function()], model
        ).convert()
        fast = run_fast_path(content, columns, preprocessing)
    saved = run_signature(signature, columns, preprocessing)
    spread = float(saved[:count].std())
    scale = np.maximum(np.abs(saved), max(spread, np.finfo(np.float32).tiny))
    largest = float((np.abs(fast - saved) / scale).max())
    equal = largest <= LARGEST_DIFFERENCE  # False for NaN too
    with open(os.path.join(model_dir, FAST_PATH), "wb") as file:
        file.write(content)
    return {
        "status": "equal" if equal else "different",
        "format": "LiteRT",
        "file": FAST_PATH,
        "sha256": hashlib.sha256(content).hexdigest(),
        "compared": {
            "validation_rows": count,
            "rows_to_clean": len(saved) - count,
            "largest_difference": largest if math.isfinite(largest) else None,
            "limit": LARGEST_DIFFERENCE,
            "spread": spread,
        },
        "examples": examples(columns, saved, count),
    }


def describe(checked):
    if checked["status"] == "absent":
        return f"absent · {checked['reason']}"
    compared = checked["compared"]
    difference = compared["largest_difference"]
    shown = "not a number" if difference is None else f"{difference:.1e}"
    return (
        f"{checked['status']} · largest difference {shown} on "
        f"{compared['validation_rows']:,} validation rows, limit {compared['limit']:.0e}"
    )


def raw_rows(features, preprocessing):
    """Raw columns, in the order of `inputs`, that the features could have come from.

    The split holds standardised numbers; undoing that gives values that take the whole way through
    the graph again.
    """
    columns, position = {}, 0
    for row in preprocessing["numeric"]:
        values = features[:, position].astype(np.float64) * row["scale"] + row["mean"]
        columns[row["column"]] = np.exp(values) if row["transform"] == "log" else values
        position += 1
    for row in preprocessing["categorical"]:
        hot = features[:, position : position + len(row["values"])] > 0.5
        words = [*row["values"], NO_WORD]
        chosen = np.where(hot.any(axis=1), hot.argmax(axis=1), -1)
        columns[row["column"]] = [words[index] for index in chosen]
        position += len(row["values"])
    return [list(columns[row["column"]]) for row in preprocessing["inputs"]]


def add_rows_to_clean(columns, preprocessing):
    """Below the rows the first one again, once with each odd value of each column."""
    first = [column[0] for column in columns]
    odd = {"number": (math.nan, 0.0, -1.0, math.inf, -math.inf), "text": ("", NO_WORD)}
    for changed, described in enumerate(preprocessing["inputs"]):
        for value in odd[described["type"]]:
            for position, column in enumerate(columns):
                column.append(value if position == changed else first[position])


def run_signature(signature, columns, preprocessing):
    specs = signature.structured_input_signature[1]
    tensors = {
        row["name"]: tf.constant(column, specs[row["name"]].dtype)
        for row, column in zip(preprocessing["inputs"], columns)
    }
    return signature(**tensors)["prediction"].numpy().astype(np.float64)


def run_fast_path(content, columns, preprocessing):
    named = dict(zip((row["column"] for row in preprocessing["inputs"]), columns))
    tensors = {np.float32: [named[row["column"]] for row in preprocessing["numeric"]]}
    tensors[np.int32] = [
        [
            row["values"].index(word) if word in row["values"] else -1
            for word in named[row["column"]]
        ]
        for row in preprocessing["categorical"]
    ]
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    inputs = [(given["index"], given["dtype"]) for given in interpreter.get_input_details()]
    for index, kind in inputs:
        interpreter.resize_tensor_input(index, (len(columns[0]), len(tensors[kind])))
    interpreter.allocate_tensors()
    for index, kind in inputs:
        interpreter.set_tensor(index, np.array(tensors[kind], kind).T)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(np.float64)


def examples(columns, saved, count):
    """Rows in the order of `inputs` and what the SavedModel predicts for them; null for NaN.

    The first validation rows, and of the rows to clean those that JSON can hold.
    """
    chosen = [*range(min(EXAMPLES, count)), *range(count, len(saved))]
    rows, predictions = [], []
    for number in chosen:
        row = [column[number] for column in columns]
        row = [None if isinstance(value, float) and math.isnan(value) else value for value in row]
        if math.inf not in row and -math.inf not in row and math.isfinite(saved[number]):
            rows.append(row)
            predictions.append(float(saved[number]))
    return {"rows": rows, "predictions": predictions}


@contextlib.contextmanager
def quiet():
    """Keep what C++ writes to stderr out of the log; the converter tells each of its stages."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


# --- the command -----------------------------------------------------------------------------


def say(line):
    print(line, flush=True)


def at_least_one(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def positive_number(text):
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def parse_arguments(argv):
    environment = os.environ
    base = environment.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    channels = os.path.join(base, "input", "data")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=at_least_one, default=24, help="at most so many passes")
    parser.add_argument("--layers", type=at_least_one, default=2, help="hidden layers")
    parser.add_argument("--units", type=at_least_one, default=64, help="units in each of them")
    parser.add_argument("--batch_size", "--batch-size", type=at_least_one, default=256)
    parser.add_argument("--learning_rate", "--learning-rate", type=positive_number, default=0.005)
    parser.add_argument("--patience", type=at_least_one, default=5, help="epochs without progress")
    parser.add_argument("--seed", type=int, default=42)
    for channel in ("train", "validation", "preprocessing"):
        default = environment.get(f"SM_CHANNEL_{channel.upper()}", os.path.join(channels, channel))
        parser.add_argument(f"--{channel}", default=default, help=f"the folder of {channel}")
    default = environment.get("SM_MODEL_DIR", os.path.join(base, "model"))
    parser.add_argument("--model-dir", default=default, help="the folder for the model")
    # SageMaker's TensorFlow estimator passes an S3 prefix for checkpoints unless told not to.
    parser.add_argument("--model_dir", dest="checkpoint_uri", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def train(arguments):
    """Read, fit, export. Raises TrainingProblem."""
    preprocessing = read_preprocessing(arguments.preprocessing)
    features = len(preprocessing["features"])
    training = read_split(arguments.train, "train", features)
    validation = read_split(arguments.validation, "validation", features)
    say(f"{len(training[1]):,} rows to learn from, {features} features")
    make_reproducible(arguments.seed)
    net, epoch, loss = fit(arguments, training, validation)
    say(f"best epoch {epoch} · val_loss={loss:.9g}")
    export(net, preprocessing, validation, arguments.model_dir)
    say(f"detail: epoch {epoch} of {arguments.epochs} · val_loss {loss:.4f}")


def main(argv=None):
    """Run the step; 0 when there is a model, 1 when there is none."""
    try:
        train(parse_arguments(argv))
    except TrainingProblem as problem:
        print(problem, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
