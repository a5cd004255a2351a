"""schemathesis against the app's own OpenAPI: whatever fits it or does not, the answer is one that it describes."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="no fastapi: nothing is served")
pytest.importorskip("prometheus_client", reason="no prometheus_client: nothing is served")
pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, settings

from looksay.serve.api import create_app
from looksay.serve.shelf import Shelf

APP = create_app(Shelf({"echo": "echo"}), hosts=None)
# What no schema says: that a picture is one, that the last word is the user's, how long a body may be in all.
REFUSED = ["400", "404", "413"]
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", *REFUSED]},
            "negative_data_rejection": {"expected-statuses": [*REFUSED, "405"]},
        }
    }
)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP, config=CONFIG)


@SCHEMA.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: Any) -> None:
    case.call_and_validate()
