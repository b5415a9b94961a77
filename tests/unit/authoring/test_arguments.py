from types import SimpleNamespace
from typing import Any

import pytest

from mlops.authoring.arguments import choose_arguments, known_values
from mlops.errors import TargetError
from mlops.settings import Settings

SETTINGS = Settings(region="eu-west-1", account_id="123456789012")
SESSION = SimpleNamespace(boto_session=object())


@pytest.fixture
def known() -> dict[str, Any]:
    return known_values(SESSION, SETTINGS)


def test_the_form_of_this_project(known: dict[str, Any]) -> None:
    def build_pipeline(session: Any, settings: Any) -> None: ...

    assert choose_arguments(build_pipeline, known) == {"session": SESSION, "settings": SETTINGS}


def test_the_form_of_the_project_templates(known: dict[str, Any]) -> None:
    def get_pipeline(
        region: str,
        sagemaker_project_name: str | None = None,
        role: str | None = None,
        default_bucket: str | None = None,
        model_package_group_name: str = "AbalonePackageGroup",
        pipeline_name: str = "AbalonePipeline",
        base_job_prefix: str = "Abalone",
    ) -> None: ...

    assert choose_arguments(get_pipeline, known) == {
        "region": "eu-west-1",
        "role": "arn:aws:iam::123456789012:role/mlops-execution",
        "default_bucket": "mlops-eu-west-1-123456789012",
    }


def test_a_default_that_somebody_chose_stays(known: dict[str, Any]) -> None:
    def get_pipeline(default_bucket: str = "my-bucket", **more: Any) -> None: ...

    assert choose_arguments(get_pipeline, known) == {}


def test_what_is_not_known_is_named(known: dict[str, Any]) -> None:
    def get_pipeline(region: str, vpc: str, subnets: str) -> None: ...

    with pytest.raises(TargetError, match=r"get_pipeline\(\) needs vpc, subnets") as caught:
        choose_arguments(get_pipeline, known)
    assert caught.value.where is not None
    assert __file__ in caught.value.where
    assert "default_bucket" in str(caught.value.next_step)


def test_a_class_or_partial_can_be_called_too(known: dict[str, Any]) -> None:
    class Factory:
        def __init__(self, region: str) -> None: ...

    assert choose_arguments(Factory, known) == {"region": "eu-west-1"}
