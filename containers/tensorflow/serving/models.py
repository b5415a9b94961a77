"""The model: columns of raw values in, one float for each row out."""

import gc
import json
import math
import os
import sys

from serving.problems import StartProblem
from serving.rows import Inputs

BATCH_ROWS = 2048  # as in evaluate.py
ROW_MULTIPLE = 16
"""Rows are evaluated in multiples of this. TensorFlow's matrix products treat the rows that fill
no whole vector of the processor in another order of sums: the last bits of a prediction would
depend on the rows beside it."""


def read_preprocessing(folder):
    """preprocessing.json of the model's folder. Raises StartProblem."""
    path = os.path.join(folder, "preprocessing.json")
    if not os.path.isdir(folder) or not os.listdir(folder):
        raise StartProblem(f"there is no model in {folder}: mount or unpack model.tar.gz there")
    try:
        with open(path, encoding="utf-8") as file:
            preprocessing = json.load(file)
        Inputs(preprocessing)
    except FileNotFoundError:
        raise StartProblem(f"the model has no preprocessing.json: {path}") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise StartProblem(f"{path} cannot be read: {one_line(error)}") from None
    return preprocessing


def one_line(error):
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


class SavedModel:
    """The signature `serving_default` of the SavedModel in `1/`, without Keras."""

    name = "SavedModel"

    def __init__(self, folder, preprocessing):
        self.inputs = Inputs(preprocessing)
        path = os.path.join(folder, "1")
        if not os.path.isfile(os.path.join(path, "saved_model.pb")):
            raise StartProblem(f"the model has no SavedModel: {path}/saved_model.pb is missing")
        self.tf = load_tensorflow()
        try:
            self.loaded = self.tf.saved_model.load(path)  # its variables live as long as this
            self.signature = self.loaded.signatures["serving_default"]
            self.check()
            self.predict(self.example())
        except StartProblem:
            raise
        except Exception as error:  # noqa: BLE001 (TensorFlow raises what it likes)
            raise StartProblem(
                f"the SavedModel in {path} cannot be used: "
                f"{type(error).__name__}: {one_line(error)}"
            ) from None

    def check(self):
        """The signature is the one that preprocessing.json describes."""
        specs = self.signature.structured_input_signature[1]
        wanted = {
            name: self.tf.float32 if numeric else self.tf.string
            for name, numeric in zip(self.inputs.tensors, self.inputs.numeric)
        }
        found = {name: spec.dtype for name, spec in specs.items()}
        if found != wanted or "prediction" not in self.signature.structured_outputs:
            raise StartProblem(
                "the SavedModel's signature is not the one that preprocessing.json describes: it "
                f"takes {', '.join(sorted(found))} and gives "
                f"{', '.join(sorted(self.signature.structured_outputs))}"
            )
        self.kinds = list(wanted.values())

    def example(self):
        return [[1.0] if numeric else ["?"] for numeric in self.inputs.numeric]

    def predict(self, columns):
        rows = len(columns[0])
        values = []
        for start in range(0, rows, BATCH_ROWS):
            end = min(rows, start + BATCH_ROWS)
            values += self.evaluate([column[start:end] for column in columns], end - start)
        return values

    def evaluate(self, columns, rows):
        padding = -rows % ROW_MULTIPLE
        tensors = {
            name: self.tf.constant(column + column[-1:] * padding, kind)
            for name, column, kind in zip(self.inputs.tensors, columns, self.kinds)
        }
        return self.signature(**tensors)["prediction"].numpy()[:rows].tolist()


def load_tensorflow():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without the start-up notes
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # as in training: the same bits
    # The model holds no Keras objects; Keras, which TensorFlow loads where it can, takes seconds.
    # None makes its import fail as if it were not installed.
    sys.modules.setdefault("keras", None)
    gc.disable()  # the import makes a million objects that stay: 0.5 s of looking for garbage
    try:
        import tensorflow
    except ImportError as error:
        raise StartProblem(f"TensorFlow cannot be imported: {one_line(error)}") from None
    finally:
        gc.enable()
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)  # the same bits anywhere
    gc.collect()
    gc.freeze()  # what the import made stays: no collection needs to walk through it again
    return tensorflow


# --- the fast path ---------------------------------------------------------------------------


class FastPath:
    """The same graph for LiteRT, which train.py wrote and compared; without TensorFlow.

    It is used only where fast_path.json says that it predicts what the SavedModel predicts, the
    file is the one that was compared, and the examples come out the same on this machine too.
    """

    name = "fast path (LiteRT)"

    def __init__(self, folder, preprocessing):
        self.inputs = Inputs(preprocessing)
        self.rows = None  # that the interpreter is set up for
        checked = read_fast_path(folder)
        try:
            self.order(preprocessing)
            self.load(os.path.join(folder, checked["file"]), checked["sha256"])
            self.compare(checked["examples"], checked["compared"])
        except StartProblem:
            raise
        except Exception as error:  # noqa: BLE001 (a broken file breaks anywhere)
            raise unusable(f"it fails: {type(error).__name__}: {one_line(error)}") from None

    def order(self, preprocessing):
        """Which input goes where: train.py, fast_function."""
        names = self.inputs.names
        self.numbers = [names.index(row["column"]) for row in preprocessing["numeric"]]
        self.words = [
            (names.index(row["column"]), {word: n for n, word in enumerate(row["values"])})
            for row in preprocessing["categorical"]
        ]

    def load(self, path, sha256):
        import hashlib

        try:
            import numpy
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise unusable(f"the image lacks a package: {one_line(error)}") from None
        self.numpy = numpy
        with open(path, "rb") as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise unusable(f"{path} is not the file that fast_path.json speaks of")
        self.interpreter = Interpreter(model_content=content, num_threads=1)
        self.tensors = [
            (given["index"], given["dtype"]) for given in self.interpreter.get_input_details()
        ]
        self.output = self.interpreter.get_output_details()[0]["index"]

    def compare(self, examples, compared):
        """Predict the examples: what was equal where it was trained has to be so here."""
        columns = [list(column) for column in zip(*examples["rows"])]
        columns = [[math.nan if value is None else value for value in column] for column in columns]
        for got, wanted in zip(self.predict(columns), examples["predictions"]):
            allowed = compared["limit"] * max(abs(wanted), compared["spread"])
            if not abs(got - wanted) <= allowed:
                raise unusable(
                    f"here it predicts {got!r} for an example that the SavedModel gives {wanted!r}"
                )

    def predict(self, columns):
        rows = len(columns[0])
        if rows != self.rows:
            for index, kind in self.tensors:
                width = len(self.words if kind is self.numpy.int32 else self.numbers)
                self.interpreter.resize_tensor_input(index, (rows, width))
            self.interpreter.allocate_tensors()
            self.rows = rows
        for index, kind in self.tensors:
            values = self.positions(columns) if kind is self.numpy.int32 else self.floats(columns)
            self.interpreter.set_tensor(index, values)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output).tolist()

    def floats(self, columns):
        with self.numpy.errstate(over="ignore"):  # beyond 32 bits is infinite, hence missing
            chosen = [columns[position] for position in self.numbers]
            return self.numpy.array(chosen, self.numpy.float32).T

    def positions(self, columns):
        chosen = [
            [known.get(word, -1) for word in columns[position]] for position, known in self.words
        ]
        return self.numpy.array(chosen, self.numpy.int32).T


def read_fast_path(folder):
    """fast_path.json, where it says `equal`. Raises StartProblem."""
    path = os.path.join(folder, "fast_path.json")
    try:
        with open(path, encoding="utf-8") as file:
            checked = json.load(file)
        status = checked["status"]
    except FileNotFoundError:
        raise unusable(f"the model has none: {path} is missing") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise unusable(f"{path} cannot be read: {one_line(error)}") from None
    if status != "equal":
        reason = checked.get("reason") or f"its predictions differ: {checked.get('compared')}"
        raise unusable(f"the training step found it {status}: {reason}")
    return checked


def unusable(reason):
    return StartProblem(
        f"MODEL_SERVER_FAST_PATH asks for the fast path, but {reason}; "
        "without the variable the SavedModel serves"
    )
