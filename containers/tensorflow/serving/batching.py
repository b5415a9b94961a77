"""The rows of all requests that wait, evaluated together."""

import sys
import traceback

MOST_ROWS = 2048
"""Rows in one evaluation of several requests. A larger request is evaluated alone."""


class Batcher:
    """Collects requests until the event loop has read what its sockets hold, then evaluates.

    Nothing waits for a batch to fill: a request that is alone is evaluated at once, and while it
    is, the next ones gather in their sockets.
    """

    def __init__(self, predict, schedule):
        """`predict` takes columns and gives floats; `schedule` is the loop's call_soon."""
        self.predict = predict
        self.schedule = schedule
        self.waiting = []
        self.scheduled = False

    def add(self, columns, answer):
        """Evaluate `columns`, then call `answer(values)`; None when the model failed (logged)."""
        self.waiting.append((columns, answer))
        if not self.scheduled:
            self.scheduled = True
            self.schedule(self.evaluate)

    def evaluate(self):
        group = self.next_group()
        self.scheduled = bool(self.waiting)
        if self.scheduled:
            self.schedule(self.evaluate)  # after the loop has looked at its sockets
        for answer, values in self.predictions(group):
            answer(values)

    def next_group(self):
        rows = taken = 0
        for columns, _ in self.waiting:
            rows += len(columns[0])
            if taken and rows > MOST_ROWS:
                break
            taken += 1
        group = self.waiting[:taken]
        del self.waiting[:taken]
        return group

    def predictions(self, group):
        """(answer, its values or None) for each request of the group."""
        columns = group[0][0]
        if len(group) > 1:
            parts = zip(*(columns for columns, _ in group))
            columns = [[value for part in column for value in part] for column in parts]
        try:
            values = self.predict(columns)
        except Exception:  # noqa: BLE001 (the server lives on; whoever asked gets a 500)
            traceback.print_exc(file=sys.stderr)
            return [(answer, None) for _, answer in group]
        answers, start = [], 0
        for part, answer in group:
            end = start + len(part[0])
            answers.append((answer, values[start:end]))
            start = end
        return answers
