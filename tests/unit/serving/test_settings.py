"""What the environment may say."""

from __future__ import annotations

import pytest
from serving.problems import StartProblem
from serving.settings import Settings, read_settings


def test_without_variables_it_is_sagemakers_contract() -> None:
    assert read_settings({}) == Settings("/opt/ml/model", "", 8080, 1, 60, False, False)


def test_every_variable_is_read() -> None:
    environment = {
        "SAGEMAKER_BASE_DIR": "/tmp/x",
        "SAGEMAKER_BIND_TO_PORT": "9000",
        "SAGEMAKER_SAFE_PORT_RANGE": "9000-9999",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT": " 5 ",
        "MODEL_SERVER_WORKERS": "2",
        "MODEL_SERVER_HOST": "127.0.0.1",
        "MODEL_SERVER_FAST_PATH": "true",
        "MODEL_SERVER_ACCESS_LOG": "1",
    }
    expected = Settings("/tmp/x/model", "127.0.0.1", 9000, 2, 5, True, True)
    assert read_settings(environment) == expected


def test_the_sdks_name_for_workers_wins() -> None:
    both = {"SAGEMAKER_MODEL_SERVER_WORKERS": "3", "MODEL_SERVER_WORKERS": "2"}
    assert read_settings(both).workers == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("SAGEMAKER_BIND_TO_PORT", "65536"),
        ("SAGEMAKER_BIND_TO_PORT", "²"),
        ("MODEL_SERVER_WORKERS", "-1"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "two"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "1.5"),
        ("MODEL_SERVER_FAST_PATH", "maybe"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(StartProblem) as caught:
        read_settings({name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
