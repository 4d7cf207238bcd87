"""The OpenAPI document: schemathesis sends what it allows and what it forbids, and finds nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from serving import Serve

schemathesis: Any = pytest.importorskip("schemathesis")

OPERATIONS = {
    "/v1/restore": "POST",
    "/v1/restore/batch": "POST",
    "/v1/inspect": "POST",
    "/v1/models": "GET",
    "/health": "GET",
    "/ready": "GET",
    "/metrics": "GET",
}
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


def test_the_document_has_all_operations(document: Any) -> None:
    found = {operation.ok().path: operation.ok().method.upper() for operation in document.get_all_operations()}
    assert found == OPERATIONS


def form_of(case: Any) -> dict[str, Any]:
    return case.body if isinstance(case.body, dict) else {}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", OPERATIONS)
def test_every_operation_does_what_the_document_says(document: Any, path: str, mode: str) -> None:
    operation, sent = document[path][OPERATIONS[path]], 0

    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        nonlocal sent
        # In a form, a list of one value is that value, and one of none is nothing: neither is wrong.
        assume(not any(isinstance(value, list) and len(value) < 2 for value in form_of(case).values()))
        sent += 1
        case.call_and_validate()

    if mode == "negative" and OPERATIONS[path] == "GET":
        pytest.skip("an operation without parameters has no wrong ones")
    check()
    assert sent
