"""What counts: the request, then the container's word, then the defaults of the API Reference."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.execution.transform.settings import TransformSettings, environment_of, settings_of

DEFAULTS = TransformSettings(1, 6, "MultiRecord", 600, 3)


def test_the_defaults() -> None:
    assert settings_of({}, {}) == DEFAULTS
    assert DEFAULTS.most_bytes == 6 * 1024 * 1024


def test_the_request_wins_over_the_container() -> None:
    container = {
        "MaxConcurrentTransforms": 4,
        "MaxPayloadInMB": 2,
        "BatchStrategy": "SINGLE_RECORD",
    }
    assert settings_of({}, container) == TransformSettings(4, 2, "SingleRecord", 600, 3)
    request = {
        "MaxConcurrentTransforms": 8,
        "MaxPayloadInMB": 1,
        "BatchStrategy": "MultiRecord",
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 5, "InvocationsMaxRetries": 0},
    }
    assert settings_of(request, container) == TransformSettings(8, 1, "MultiRecord", 5, 0)


def test_zero_is_a_payload_of_any_size_and_a_concurrency_that_is_not_set() -> None:
    found = settings_of(
        {"MaxPayloadInMB": 0, "MaxConcurrentTransforms": 0}, {"MaxConcurrentTransforms": 3}
    )
    assert found.most_bytes is None
    assert found.concurrent == 3


@pytest.mark.parametrize("word", ["4", None, True, -1, 1.5, [4]])
def test_a_containers_word_that_is_none_is_passed_over(word: Any) -> None:
    assert settings_of({}, {"MaxConcurrentTransforms": word, "MaxPayloadInMB": word}) == DEFAULTS


def test_the_container_is_told_what_the_request_says() -> None:
    assert environment_of({}) == {"SAGEMAKER_BATCH": "true"}
    request = {"MaxPayloadInMB": 0, "BatchStrategy": "SingleRecord", "MaxConcurrentTransforms": 2}
    assert environment_of(request) == {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "2",
    }
