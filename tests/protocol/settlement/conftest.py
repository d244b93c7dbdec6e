"""Contracts about programs that are shorter than the settlement guest."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest


@pytest.fixture
def short_traces() -> Iterator[None]:
    """Terms are about whatever program; the settlement guest's length is not asked for."""
    with patch("protocol.settlement.terms.steps_max", lambda quorum: 1):
        yield
