"""JSON that people and programs hand us, read strictly."""

import json
from typing import Any

from protocol.errors import EncodingError


def json_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object of a text; EncodingError if it is none or says a key twice."""

    def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise EncodingError("JSON: a key is there twice, which of them counts?")
        return dict(pairs)

    try:
        record = json.loads(text, object_pairs_hook=without_repetition)
    except EncodingError:
        raise
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"no JSON ({str(error)[:80]})") from None
    if not isinstance(record, dict):
        raise EncodingError("JSON: an object is needed")
    return record
