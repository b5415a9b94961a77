"""What a job writes, on its way to a terminal or a stream of another encoding."""

import io
import sys

import pytest

from mlops.cli.plain_text import say_what_the_streams_can, without_controls


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x00b\x08c\x7fd\x9be", "abcde"),
        ("\x1b(Bafter", "after"),
        ("ends in \x1b", "ends in "),
        ("ü 你好 ✓", "ü 你好 ✓"),
    ],
)
def test_nothing_that_moves_a_cursor_is_left(written, shown):
    assert without_controls(written) == shown


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "+ 0.1 - r2 ?"), ("latin-1", "+ 0.1 · r² ?"), ("utf-8", "✓ 0.1 · r² 你")],
)
def test_signs_that_an_encoding_lacks_have_stand_ins(monkeypatch, encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say_what_the_streams_can()
    stream.write("✓ 0.1 · r² 你")
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == shown
