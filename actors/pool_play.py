"""A scenario played on the pool's own transition, operation by operation, every one signed."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from actors import pool_scenario as file
from actors.pool_genesis import START, found
from actors.pool_scenario import ALL, USD_DECIMALS, Scenario, parse
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, EncodingError, PriceError
from protocol.pool import operation as ops
from protocol.pool import view
from protocol.pool.batch import Batch
from protocol.pool.draft import Accepted, Rejected
from protocol.pool.operation import Operation, SignedOperation, signing_message
from protocol.pool.order import OrderFlag, OrderKind
from protocol.pool.pnl import position_fee
from protocol.pool.pool import Pool
from protocol.pool.position import Side
from protocol.pool.prices import BatchPrices
from protocol.pool.reject import RejectCode
from protocol.pool.transition import apply_signed
from protocol.units import U64_MAX

Json = dict[str, Any]
Judge = Callable[[Pool, Batch], Json]
"""Gets a batch and the pool before it; what it says is shown with the batch (``--prove``)."""


@dataclass(slots=True)
class Step:
    """One operation and what came of it."""

    batch: int
    user: str
    said: file.Operation
    result: Accepted | Rejected
    root: bytes
    state: Json


@dataclass(slots=True)
class Played:
    """One batch: its number from 1, prices by symbol, roots and the judge's words."""

    number: int
    time_s: int
    note: str
    prices: dict[str, str]
    old_root: bytes
    new_root: bytes
    proof: Json | None = None


@dataclass(slots=True)
class Play:
    """A whole scenario. ``paid`` is what every user brought and got, micro-USDC."""

    scenario: Scenario
    pool: Pool
    initial: Json
    steps: list[Step] = field(default_factory=list)
    batches: list[Played] = field(default_factory=list)
    paid: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def symbols(self) -> dict[int, str]:
        """Token id -> symbol."""
        return self.scenario.symbols

    def state(self) -> Json:
        """The state JSON as it is now."""
        return view.state(self.pool, self.symbols)


def scenario_key(name: str) -> SecretKey:
    """The key of a scenario's user. Everybody can derive it: never give it money."""
    return SecretKey(sha256(b"oracle-vm pool test key: " + name.encode()).digest())


def play(scenario: Scenario, judge: Judge | None = None, oracle_config: bytes = bytes(32)) -> Play:
    """Plays a whole scenario. ConfigError names the operation that the file asks for wrongly."""
    pool = Pool.genesis(scenario.pool_params(oracle_config), scenario.token_params())
    player = _Player(Play(scenario, pool, {}))
    found(pool, scenario, player.prices(scenario.batches[0]), scenario_key)
    player.play.initial = player.play.state()
    for batch, time_s in zip(scenario.batches, scenario.times(), strict=True):
        player.run(batch, time_s, judge)
    return player.play


class _Player:
    """Knows what the file leaves out: nonces, the names of orders, balances, the last prices."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.pool = play.pool
        self._ids = {symbol: token for token, symbol in play.symbols.items()}
        self._prices: dict[int, int] = {}
        self._confs: dict[int, int] = {}
        self._orders: dict[tuple[str, str], int] = {}

    def run(self, batch: file.Batch, time_s: int, judge: Judge | None) -> None:
        """One batch."""
        number = len(self.play.batches) + 1
        prices = self.prices(batch, START + time_s)
        before = deepcopy(self.pool) if judge else None
        old_root = self.pool.root()
        try:
            self.pool.advance(prices)
        except PriceError as error:
            raise ConfigError(f"batches[{number - 1}]: {error}") from None
        signed = []
        for at, said in enumerate(batch.operations):
            operation = self._step(number, at, said)
            # Money is the till's here, not the pool's: what is not paid for gets into no batch.
            if self.play.steps[-1].result != Rejected(RejectCode.DEPOSIT):
                signed.append(operation)
        played = Played(number, time_s, batch.note, self._shown(), old_root, self.pool.root())
        if judge and before:
            played.proof = judge(before, Batch(prices, signed))
        self.play.batches.append(played)

    def prices(self, batch: file.Batch, time: int = START) -> BatchPrices:
        """Those of a batch, with what it leaves as it was."""
        for symbol, text in batch.prices.items():
            self._prices[self._ids[symbol]] = self._mantissa(symbol, text, "prices")
        for symbol, text in batch.conf.items():
            self._confs[self._ids[symbol]] = self._mantissa(symbol, text, "conf")
        rows = tuple((i, self._prices[i], self._confs.get(i, 0)) for i in self.pool.tokens)
        return BatchPrices(time, rows)

    def _mantissa(self, symbol: str, text: str, place: str) -> int:
        exp = self.pool.token_params[self._ids[symbol]].price_exp
        return parse(text, exp, f"{place}.{symbol}")

    def _shown(self) -> dict[str, str]:
        params = self.pool.token_params
        return {
            symbol: view.price(self._prices[i], params[i].price_exp)
            for i, symbol in self.play.symbols.items()
        }

    def _step(self, batch: int, at: int, said: file.Operation) -> SignedOperation:
        place = f"batches[{batch - 1}].operations[{at}]"
        try:
            operation = self._operation(said)
        except (ConfigError, EncodingError) as error:
            raise ConfigError(f"{place}: {error}") from None
        signed = self._signed(said, operation)
        result = apply_signed(self.pool, signed, self._funds(said.user))
        if isinstance(result, Accepted):
            paid, got = self.play.paid.get(said.user, (0, 0))
            self.play.paid[said.user] = paid + result.inflow, got + result.outflow
            if isinstance(said, file.CreateOrder) and isinstance(operation, ops.CreateOrder):
                self._orders[said.user, said.order] = operation.nonce
        root = self.pool.root()
        self.play.steps.append(Step(batch, said.user, said, result, root, self.play.state()))
        return signed

    def _funds(self, user: str) -> int | None:
        row = self.play.scenario.users.get(user)
        if row is None or row.balance is None:
            return None
        paid, got = self.play.paid.get(user, (0, 0))
        return max(parse(row.balance, USD_DECIMALS, f"users.{user}.balance") + got - paid, 0)

    def _signed(self, said: file.Operation, operation: Operation) -> SignedOperation:
        if not operation.is_signed:
            return SignedOperation(operation)
        signer = scenario_key(getattr(said, "signed_by", None) or said.user)
        message = signing_message(self.pool.pool_id, operation)
        return SignedOperation(operation, signer.sign(message, bytes(32)))

    def _operation(self, said: file.Operation) -> Operation:
        fields: Json = {"owner": scenario_key(said.user).public}
        if isinstance(said, file.Signed):
            account = self.pool.account(fields["owner"])
            fields["nonce"] = account.nonce if said.nonce is None else said.nonce
            fields["deadline"] = U64_MAX if said.deadline_s is None else START + said.deadline_s
        if isinstance(
            said,
            file.Increase | file.Decrease | file.Liquidate | file.CloseAtCap | file.CreateOrder,
        ):
            fields["token"] = self._ids[said.token]
            fields["side"] = Side[said.side.upper()]
        match said:
            case file.AddLiquidity():
                amounts = self._amounts(said, "amount", "min_glp")
                return ops.AddLiquidity(**fields, **amounts)
            case file.RemoveLiquidity():
                all_of = self.pool.account(fields["owner"]).glp
                return ops.RemoveLiquidity(
                    **fields, **self._amounts(said, "glp", "min_out", all_of=all_of)
                )
            case file.Increase():
                return self._increase(said, fields)
            case file.Decrease():
                return self._decrease(said, fields)
            case file.Liquidate():
                return ops.Liquidate(**fields)
            case file.CloseAtCap():
                return ops.CloseAtCap(**fields)
            case file.CreateOrder():
                return self._create_order(said, fields)
            case file.CancelOrder():
                return ops.CancelOrder(**fields, order_nonce=self._order(said))
            case file.FillOrder():
                return ops.FillOrder(**fields, order_nonce=self._order(said))

    def _increase(self, said: file.Increase, fields: Json) -> Operation:
        amounts = self._amounts(said, "size")
        params = self.pool.token_params[fields["token"]]
        if said.collateral is not None:
            collateral = parse(said.collateral, USD_DECIMALS, "collateral")
            deposit = collateral + position_fee(amounts["size"], params)
        else:
            deposit = self._amounts(said, "deposit")["deposit"]
        accepted = self._acceptable(said, is_buy=said.side == "long")
        return ops.Increase(**fields, **amounts, deposit=deposit, acceptable_price=accepted)

    def _decrease(self, said: file.Decrease, fields: Json) -> Operation:
        position = self.pool.position(fields["owner"], fields["token"], fields["side"])
        amounts = self._amounts(said, "size", "collateral", all_of=position.size if position else 1)
        accepted = self._acceptable(said, is_buy=said.side == "short")
        return ops.Decrease(**fields, **amounts, acceptable_price=accepted)

    def _create_order(self, said: file.CreateOrder, fields: Json) -> Operation:
        is_decrease = said.action == "decrease"
        flags = OrderFlag.DECREASE * is_decrease | OrderFlag.REDUCE_ONLY * said.reduce_only
        amounts = self._amounts(said, "size", "collateral")
        if said.deposit is not None:
            amounts |= self._amounts(said, "deposit")
        return ops.CreateOrder(
            **fields,
            **amounts,
            order_kind=OrderKind[said.kind.upper()],
            flags=int(flags),
            trigger_price=self._mantissa(said.token, said.trigger_price, "trigger_price"),
            acceptable_price=self._acceptable(said, is_buy=(said.side == "long") != is_decrease),
            expiry=U64_MAX if said.expiry_s is None else START + said.expiry_s,
        )

    def _acceptable(
        self, said: file.Increase | file.Decrease | file.CreateOrder, is_buy: bool
    ) -> int:
        if said.acceptable_price is not None:
            return self._mantissa(said.token, said.acceptable_price, "acceptable_price")
        return U64_MAX if is_buy else 0

    def _amounts(self, said: file.Operation, *names: str, all_of: int | None = None) -> Json:
        """Fields in 1e-6. The first may be "all", where the operation knows of what."""
        amounts: Json = {}
        for name in names:
            text = getattr(said, name)
            if text == ALL and (all_of is None or name != names[0]):
                raise ConfigError(f"{name}: `all` has no meaning here, write an amount")
            amounts[name] = all_of if text == ALL else parse(text, USD_DECIMALS, name)
        return amounts

    def _order(self, said: file.CancelOrder | file.FillOrder) -> int:
        return self._orders.get((said.user, said.order), U64_MAX)
