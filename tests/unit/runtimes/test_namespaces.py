"""What can be told of namespaces without any."""

from __future__ import annotations

import pytest

from mlops.errors import RuntimeUnavailable
from mlops.runtimes.namespaces import refuse_unless_linux


def test_macos_is_refused_with_the_reason() -> None:
    with pytest.raises(RuntimeUnavailable, match="need Linux; this is darwin") as caught:
        refuse_unless_linux("darwin")
    assert "docker" in (caught.value.next_step or "")
    assert caught.value.exit_code == 3
