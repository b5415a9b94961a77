"""The peer of `benchmarks.serving`: flask and Keras's `predict()`, as is often written.

    MODEL=<folder of a trained model> gunicorn benchmarks._keras_server:application

The net is rebuilt with Keras from the SavedModel's weights; the rows are prepared with numpy. It
takes CSV rows without a header.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from flask import Flask, Response, request

FOLDER = Path(os.environ["MODEL"])
PREPROCESSING = json.loads((FOLDER / "preprocessing.json").read_text(encoding="utf-8"))
NAMES = [row["column"] for row in PREPROCESSING["inputs"]]

application = Flask(__name__)


def build() -> keras.Model:
    saved = tf.saved_model.load(str(FOLDER / "1"))
    weights = [
        values.numpy() for pair in zip(saved.kernels, saved.biases, strict=True) for values in pair
    ]
    layers: list[keras.Layer] = [keras.layers.Input((weights[0].shape[0],))]
    for kernel in weights[:-2:2]:
        layers.append(keras.layers.Dense(kernel.shape[1], activation="relu"))
    net = keras.Sequential([*layers, keras.layers.Dense(1)])
    net.set_weights(weights)
    return net


def prepare(rows: list[list[str]]) -> np.ndarray:
    columns = dict(zip(NAMES, zip(*rows, strict=True), strict=True))
    parts = []
    for row in PREPROCESSING["numeric"]:
        values = np.array(columns[row["column"]], np.float32)
        values = np.log(values) if row["transform"] == "log" else values
        parts.append((values - row["mean"]) / row["scale"])
    for row in PREPROCESSING["categorical"]:
        words = np.array(columns[row["column"]])
        parts += [words == value for value in row["values"]]
    return np.stack(parts, axis=1).astype(np.float32)


NET = build()


@application.get("/ping")
def ping() -> Response:
    return Response(status=200)


@application.post("/invocations")
def invocations() -> Response:
    rows = list(csv.reader(request.get_data(as_text=True).splitlines()))
    predictions = NET.predict(prepare(rows), verbose=0)[:, 0]
    if PREPROCESSING["target"]["transform"] == "log":
        predictions = np.exp(predictions)
    return Response("\n".join(map(repr, predictions.tolist())) + "\n", mimetype="text/csv")
