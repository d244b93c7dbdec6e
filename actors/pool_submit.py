"""``oracle-vm pool submit``: signs an operation with its owner's key and hands it to an API."""

import json
import secrets
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import msgspec
import typer

from actors.keyfile import create_key, load_key
from actors.pool_scenario import USD_DECIMALS, parse
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, EncodingError
from protocol.pool import operation as ops
from protocol.pool.operation import Operation, SignedOperation, signing_message
from protocol.pool.position import Side
from protocol.units import U64_MAX

CALL_S: Final = 10.0
BATCH_S: Final = 60.0
"""How long an operation may wait for its batch."""
POLL_S: Final = 0.2
PENDING: Final = "pending"
ANSWER_MAX: Final = 1 << 20
PRICE_DECIMALS: Final = 8
KINDS: Final[dict[str, type[Operation]]] = {
    "add_liquidity": ops.AddLiquidity,
    "remove_liquidity": ops.RemoveLiquidity,
    "increase": ops.Increase,
    "decrease": ops.Decrease,
    "cancel_order": ops.CancelOrder,
}
"""What an owner says in one line; other operations go to the API as bytes (docs/pool.md)."""

A = TypeVar("A")


class _Token(msgspec.Struct):
    id: int


class _Details(msgspec.Struct):
    pool_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    time_ms: int
    tokens: dict[str, _Token]


class _Account(msgspec.Struct):
    next_nonce: int


class _Taken(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


def submit(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(KINDS))],
    fields: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE..", help="token=BTC side=long size=10000 ..")
    ],
    key: Annotated[Path, typer.Option(help="The owner's key file; made if it is missing.")],
    api: Annotated[str, typer.Option(help="Where `oracle-vm up` says that the API is.")],
    deadline_s: Annotated[int, typer.Option(min=1, help="Seconds that it may wait.")] = 300,
) -> None:
    """Sign an operation for a running pool, submit it, and wait for its batch. Amounts are USDC or
    shares, prices USD, as decimal strings. JSON on stdout: what became of it."""
    owner = load_key(key) if key.exists() else create_key(key)
    details = _ask(api, "/v1/pool/details", _Details)
    place = f"/v1/pool/accounts/{owner.public.hex()}"
    account = _ask(api, place, _Account, missing=_Account(next_nonce=0))
    operation = operation_of(
        kind,
        dict(_pair(text) for text in fields),
        {symbol: token.id for symbol, token in details.tokens.items()},
        owner=owner.public,
        nonce=account.next_nonce,
        deadline=details.time_ms // 1000 + deadline_s,
    )
    signed = _signed(operation, owner, bytes.fromhex(details.pool_id))
    taken = _ask(api, "/v1/pool/operations", _Taken, {"operation": signed.hex()})
    print(json.dumps(_result(api, taken.id)))


def operation_of(
    kind: str, fields: dict[str, str], tokens: dict[str, int], **head: Any
) -> Operation:
    """The operation that ``fields`` describe; ``tokens`` by symbol. ConfigError names a field that
    is unknown, missing or no number."""
    found = KINDS.get(kind)
    if found is None:
        raise ConfigError(f"operation `{kind}`: give one of {', '.join(KINDS)}")
    values: dict[str, Any] = dict(head)
    for name in ("token", "side"):
        if name in found.head:
            known = tokens if name == "token" else {side.name.lower(): int(side) for side in Side}
            if fields.get(name) not in known:
                raise ConfigError(f"{name}: give one of {', '.join(known)}, as {name}=..")
            values[name] = known[fields[name]]
    for name, _ in found.amounts:
        if name in fields:
            values[name] = _number(name, fields[name])
    if "acceptable_price" in dict(found.amounts) and "acceptable_price" not in fields:
        buys = (kind == "increase") == (values["side"] == Side.LONG)
        values["acceptable_price"] = U64_MAX if buys else 0
    unknown = fields.keys() - values.keys()
    if unknown:
        raise ConfigError(f"{kind} has no field {', '.join(sorted(unknown))}")
    try:
        return found(**values)
    except TypeError:
        needed = [name for name, _ in found.amounts if name not in values]
        raise ConfigError(f"{kind}: give {', '.join(needed)} too, as NAME=VALUE") from None
    except EncodingError as error:
        raise ConfigError(str(error)) from None


def _number(name: str, text: str) -> int:
    decimals = PRICE_DECIMALS if name.endswith("price") else USD_DECIMALS
    if name == "order_nonce":
        decimals = 0
    if not text.replace(".", "", 1).isdecimal() or not text.isascii() or not text[0].isdigit():
        raise ConfigError(f"{name}: `{text}` is no decimal number, write it like 1000.50")
    return parse(text, decimals, name)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not value:
        raise ConfigError(f"`{text}`: write NAME=VALUE")
    return name, value


def _signed(operation: Operation, owner: SecretKey, pool_id: bytes) -> bytes:
    message = signing_message(pool_id, operation)
    return SignedOperation(operation, owner.sign(message, secrets.token_bytes(32))).encode()


def _result(api: str, id_: str) -> dict[str, Any]:
    """What became of an operation: as it stands if no batch takes it in time."""
    end = time.monotonic() + BATCH_S
    place = f"/v1/pool/operations/{id_}"
    while (found := _ask(api, place, dict[str, Any])).get("status") == PENDING:
        if time.monotonic() > end:
            break
        time.sleep(POLL_S)
    return found


def _ask(
    api: str, path: str, kind: type[A], body: dict[str, str] | None = None, missing: A | None = None
) -> A:
    """The API's answer; ``missing`` where it knows of no such thing. ConfigError with its problem
    document's sentence for a refusal, and for an answer that is none."""
    if not api.startswith(("http://", "https://")):
        raise ConfigError(f"--api {api}: write it like http://127.0.0.1:8480")
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(time.time_ns())}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(api.rstrip("/") + path, data, headers), timeout=CALL_S) as answer:
            return msgspec.json.decode(answer.read(ANSWER_MAX), type=kind)
    except HTTPError as error:
        if error.code == 404 and missing is not None:
            return missing
        text = error.read(ANSWER_MAX).decode(errors="replace")
        with suppress(ValueError, KeyError, TypeError):
            text = json.loads(text)["detail"]
        raise ConfigError(f"{path}: {text}") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{api}{path}: this is no answer of a pool ({error})") from None
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise ConfigError(f"{api}: no pool answers there ({error}): is it up?") from None
