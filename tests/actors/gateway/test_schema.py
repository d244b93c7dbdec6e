"""Schemathesis against the running gateway: whatever the OpenAPI document allows, and does not."""

import asyncio

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.builders.market import served
from tests.builders.sequencing import batched, running_desk

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
    checks.use_after_free,
]
EXAMPLES = 12


def explore(url: str, mode: GenerationMode) -> list[str]:
    """Asks every operation; their names."""
    schema = schemathesis.openapi.from_url(f"http://{url}/openapi.json")
    names = []
    for found in schema.get_all_operations():
        operation = found.ok()
        is_asked = any(map(len, (operation.path_parameters, operation.query, operation.headers)))
        if mode is GenerationMode.NEGATIVE and not is_asked and not operation.body:
            continue  # nothing can be wrong
        names.append(operation.label)

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            case.call_and_validate(checks=CHECKS)

        ask()
    return names


@pytest.mark.parametrize(
    ("mode", "operations"), [(GenerationMode.POSITIVE, 26), (GenerationMode.NEGATIVE, 18)]
)
async def test_every_answer_is_the_one_that_is_documented(tmp_path, mode, operations):
    async with (
        running_desk(tmp_path / "pool") as (desk, venue),
        served(tmp_path, pool_desk=desk) as (_, url),
    ):
        for body in (venue.add("lp", 100_000), venue.increase("bob", 1_000)):
            venue.sequencer.submit(body)
        await batched(desk, venue)
        assert len(await asyncio.to_thread(explore, url, mode)) == operations
