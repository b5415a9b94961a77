"""The escape scheme: every key has a path of its own, and none leads out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.errors import InvalidKey
from mlops.stores.objects.keys import check_key, is_ordinary, names_of, path_of, raw_of

# Segments that look like the scheme's own names, besides any others.
segments = st.one_of(
    st.sampled_from(["", ".", "..", "%~", "%=", "%+", "%~.", "%~%25", "a", "A", "é", "\0"]),
    st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), max_size=8),
    st.text("aé", min_size=80, max_size=300),
)
keys = (
    st.lists(segments, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda key: 0 < len(key.encode()) <= 1024)
)


@given(keys, st.booleans(), st.booleans())
def test_a_path_stays_below_its_bucket(key: str, aside: bool, folding: bool) -> None:
    for name in path_of(key, aside=aside, folding=folding):
        assert name not in ("", ".", "..")
        assert "/" not in name
        assert "\0" not in name
        assert len(name.encode()) <= 255


@given(keys, keys, st.booleans(), st.booleans())
def test_two_keys_never_share_a_path(one: str, other: str, a: bool, b: bool) -> None:
    if (one, a) != (other, b):
        assert path_of(one, aside=a) != path_of(other, aside=b)


@given(keys, keys)
def test_two_keys_never_share_a_path_where_names_are_folded(one: str, other: str) -> None:
    folded = [tuple(name.casefold() for name in path_of(key, folding=True)) for key in (one, other)]
    assert (folded[0] == folded[1]) == (one == other)
    assert all(name.isascii() for name in folded[0])


@given(segments, st.booleans(), st.booleans())
def test_names_tell_their_segment(segment: str, aside: bool, folding: bool) -> None:
    names = names_of(segment, aside=aside, folding=folding)
    assert b"".join(raw_of(name) for name in names) == segment.encode()


def test_ordinary_keys_are_plain_paths() -> None:
    for key in ("input/train/train.csv", "a b+c%20d=1:2.txt", "żółć/日本", ".hidden", "a\\b"):
        assert "/".join(path_of(key)) == key


def test_on_a_folding_file_system_capitals_are_escaped() -> None:
    assert path_of("Data/train.csv", folding=True) == ("%~%44ata", "train.csv")
    assert not is_ordinary("é", folding=True)


@pytest.mark.parametrize("key", ["", "\udc80", "x" * 1025])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(InvalidKey):
        check_key(key)
