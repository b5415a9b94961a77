"""What a person sees while an execution runs, from the gateway's answers."""

import io

import pytest
from rich.console import Console

from mlops.cli.follow import Follower
from mlops.cli.view import LiveView, PlainView, StepLine, make_view


@pytest.fixture
def output():
    return io.StringIO()


@pytest.fixture
def console(output):
    return Console(file=output, width=120, force_terminal=False)


def event(sequence, name, status, **data):
    base = {"name": name, "type": "Training", "status": status}
    return {"sequence": sequence, "kind": "step", "data": base | data}


class ScriptedClient:
    """Answers `follow` from a list, and remembers the cursors it was asked with."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def follow(self, execution_id, *, events, logs, wait):
        self.asked.append((events, dict(logs)))
        return self.answers.pop(0)


def answer(status, events=(), **logs):
    return {
        "status": status,
        "events": list(events),
        "logs": {name: {"text": text, "offset": offset} for name, (text, offset) in logs.items()},
    }


def test_a_step_is_told_from_its_start_to_its_end_with_its_log_indented(console, output):
    client = ScriptedClient(
        answer("Executing", [event(1, "Train", "Executing")]),
        answer("Executing", Train=("epoch 1 of 2\nepo", 16)),
        answer(
            "Succeeded",
            [event(2, "Train", "Succeeded", seconds=2.04, overhead_seconds=0.31)],
            Train=("ch 2 of 2\ndetail: epoch 2 of 2\n", 47),
        ),
        answer("Succeeded"),
    )
    status = Follower(PlainView(console, name_width=8)).follow(client, "x")
    assert status == "Succeeded"
    assert [line.rstrip() for line in output.getvalue().splitlines()] == [
        "  Train     Training       …  executing",
        "    Train │ epoch 1 of 2",
        "    Train │ epoch 2 of 2",
        "  Train     Training       ✓     2.0 s  +0.3   epoch 2 of 2",
    ]
    assert client.asked == [(0, {}), (1, {}), (1, {"Train": 16}), (2, {"Train": 47})]


def test_a_step_ends_before_the_next_one_starts(console, output):
    client = ScriptedClient(
        answer("Executing", [event(1, "A", "Executing")]),
        answer(
            "Executing",
            [event(2, "A", "Succeeded"), event(3, "B", "Executing")],
            A=("last words of A\n", 16),
            B=("first words of B\n", 17),
        ),
        answer("Succeeded", [event(4, "B", "Succeeded")]),
        answer("Succeeded"),
    )
    Follower(PlainView(console)).follow(client, "x")
    marks = [line.split()[0] + line.split()[2] for line in output.getvalue().splitlines()]
    assert marks == ["A…", "Alast", "A✓", "B…", "Bfirst", "B✓"]


def test_a_step_that_takes_no_time_is_told_by_its_end_alone(console, output):
    client = ScriptedClient(
        answer("Succeeded", [event(1, "C", "Executing"), event(2, "C", "Succeeded")]),
        answer("Succeeded"),
    )
    Follower(PlainView(console)).follow(client, "x")
    assert len(output.getvalue().splitlines()) == 1


def test_the_last_line_of_a_log_is_told_though_it_has_no_end(console, output):
    client = ScriptedClient(
        answer("Failed", [event(1, "Train", "Failed", failure_reason="boom")], Train=("tail", 4)),
        answer("Failed"),
    )
    Follower(PlainView(console)).follow(client, "x")
    assert "Train │ tail" in output.getvalue()
    assert "boom" in output.getvalue()


def test_a_line_that_is_redrawn_shows_as_it_stands_last(console, output):
    client = ScriptedClient(
        answer("Succeeded", Train=("10%\r50%\r100%\n", 14)), answer("Succeeded")
    )
    Follower(PlainView(console)).follow(client, "x")
    assert "100%" in output.getvalue()
    assert "50%" not in output.getvalue()


def test_text_of_a_step_is_never_markup(console, output):
    view = PlainView(console)
    view.step_logged("A", ["[red]not red[/red] [/]"])
    assert "[red]not red[/red] [/]" in output.getvalue()


def test_logs_can_be_left_out(console, output):
    PlainView(console, with_logs=False).step_logged("A", ["x"])
    assert output.getvalue() == ""


def test_a_terminal_gets_the_moving_view_and_a_pipe_lines(console):
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(make_view(terminal, ["A"], with_logs=True), LiveView)
    assert type(make_view(console, ["A"], with_logs=True)) is PlainView


def test_the_moving_view_draws_a_bar_for_a_step_that_counts():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    view = LiveView(console, name_width=8)
    view.step_started(StepLine("Train", "Training", "Executing"))
    view.step_logged("Train", ["epoch 3 of 4 · val_loss 0.1"])
    console.print(view)
    assert "epoch 3 of 4 · val_loss 0.1" in output.getvalue()
    assert "━" in output.getvalue()
    view.step_ended(StepLine("Train", "Training", "Succeeded", seconds=1.0))
    assert view.running == {}


def test_a_retry_is_told_and_its_log_belongs_to_the_step(console, output):
    client = ScriptedClient(
        answer("Executing", [event(1, "Train", "Executing")]),
        answer("Executing", [event(2, "Train", "Executing", note="attempt 2 of 5 in 4 s: lost")]),
        answer(
            "Succeeded",
            [event(3, "Train", "Succeeded", seconds=2.0)],
            **{"Train/attempt-2": ("again\ndetail: done\nlast", 23)},
        ),
        answer("Succeeded"),
    )
    assert Follower(PlainView(console, name_width=8)).follow(client, "x") == "Succeeded"
    assert [line.rstrip() for line in output.getvalue().splitlines()] == [
        "  Train     Training       …  executing",
        "  Train · attempt 2 of 5 in 4 s: lost",
        "    Train │ again",
        "    Train │ last",
        "  Train     Training       ✓     2.0 s  +0.0   done",
    ]
    assert client.asked[-1] == (3, {"Train/attempt-2": 23})
