"""The OpenAPI document: schemathesis sends what it allows and what it forbids, and finds nothing."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from serving import Serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries that schemathesis brings
    schemathesis: Any = pytest.importorskip("schemathesis")

CONFIG = {
    "generation": {"deterministic": True},
    # The document cannot say which bytes are a picture, which models there are, and how many blocks they have.
    "checks": {"positive_data_acceptance": {"expected-statuses": [200, 400, 413, 415, 422]}},
}


@pytest.fixture(scope="module")
def document(serving: Serve) -> Any:
    server = serving(queue_length=4, max_body="3MB")
    config = schemathesis.Config.from_dict(CONFIG)
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=config)


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_does_what_the_document_says(case: Any) -> None:
    case.call_and_validate()
