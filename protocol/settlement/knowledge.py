"""What one party knows of its contract: the facts that it kept and all that follows from them."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import outpoint, txid
from protocol.errors import TermsError
from protocol.settlement import record
from protocol.settlement.contract import Contract
from protocol.settlement.funding import fund_tx
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.messages import Keep
from protocol.settlement.onetime import OneTimeKeys, OneTimePublics
from protocol.settlement.presign import Signatures, decode_signatures
from protocol.settlement.terms import ContractTerms, Role
from riscv_vm.image import ProgramImage


class Knowledge:
    """Facts, keys, and the contract and graph that both give. ``keep`` is the only way to learn."""

    def __init__(
        self,
        role: Role,
        keys: PartyKeys,
        records: Sequence[bytes] = (),
        judge: ProgramImage | None = None,
    ) -> None:
        """``judge`` as ``Contract`` takes it. EncodingError for records that are none, TermsError
        if the keys are not the terms'."""
        self.role = role
        self.keys = keys
        self._judge = judge
        self.restore(record.Facts.of(records))
        terms = self.facts.terms
        if terms is not None and terms.party(role).key != keys.key.public:
            raise TermsError(f"the terms name another {role.value}: this is another party's record")

    def restore(self, facts: record.Facts) -> None:
        """Know these facts and nothing else."""
        self.facts = facts
        self._one_time: OneTimeKeys | None = None
        self._tried: tuple[bytes, Contract] | None = None
        self._fund: CTransaction | None = None
        self._graph: Graph | None = None
        self._signatures: tuple[object, Mapping[Role, Signatures]] | None = None

    def keep(self, fact: bytes) -> Keep:
        """Learns ``fact``; the effect that writes it down."""
        self.facts = self.facts.after(fact)
        return Keep(fact)

    @property
    def deal(self) -> bytes:
        """The holder's nonce; empty before there is a proposal."""
        terms = self.facts.terms or self.facts.proposed
        return b"" if terms is None else terms.holder.nonce

    @property
    def terms(self) -> ContractTerms:
        """The agreed terms; they must be known."""
        assert self.facts.terms is not None, "no terms are agreed"
        return self.facts.terms

    @property
    def one_time(self) -> OneTimeKeys:
        """This party's one-time keys, once terms are agreed."""
        if self._one_time is None:
            self._one_time = self.keys.one_time(self.terms, self.role)
        return self._one_time

    def contract_with(self, bundle: bytes) -> Contract:
        """The contract if these are the other side's one-time keys. EncodingError, SignatureError,
        TermsError or ScriptError if they cannot be."""
        if self._tried is not None and self._tried[0] == bundle:
            return self._tried[1]
        bundles = {self.role: self.one_time.public.encode(), self.role.other: bundle}
        contract = _contract(self.terms, bundles[Role.HOLDER], bundles[Role.WRITER], self._judge)
        self._tried = bundle, contract
        return contract

    @property
    def contract(self) -> Contract | None:
        """Once the other side's one-time keys are known."""
        return self.contract_with(self.facts.bundle) if self.facts.bundle else None

    @property
    def fund(self) -> CTransaction | None:
        """FUND without witnesses, once both sides' coins are known."""
        coins, contract = self.facts.coins, self.contract
        if self._fund is None and contract is not None and len(coins) == len(Role):
            self._fund = fund_tx(contract, coins[Role.HOLDER], coins[Role.WRITER])
        return self._fund

    @property
    def graph(self) -> Graph | None:
        """Once FUND is known."""
        if self._graph is None and self.fund is not None and self.contract is not None:
            self._graph = Graph.of(self.contract, outpoint(txid(self.fund), 0))
        return self._graph

    @property
    def signed(self) -> bool:
        """Whether every pre-signed transaction has both signatures."""
        return len(self.facts.signatures) == len(Role)

    @property
    def signatures(self) -> Mapping[Role, Signatures]:
        """Both parties' signatures of every way, as far as they are kept."""
        assert self.graph is not None, "no graph without coins"
        kept = self.facts.signatures
        if self._signatures is None or self._signatures[0] is not kept:
            split = {
                role: decode_signatures(self.graph.kept(role, self.role), data)
                for role, data in kept.items()
            }
            self._signatures = kept, split
        return self._signatures[1]


@lru_cache(maxsize=4)
def _contract(
    terms: ContractTerms, holder: bytes, writer: bytes, judge: ProgramImage | None
) -> Contract:
    """The contract of both bundles: a party that is made anew in the same process goes on with the
    one it had."""
    bundles = zip(Role, (holder, writer), strict=True)
    publics = {role: OneTimePublics.decode(terms, role, bundle) for role, bundle in bundles}
    return Contract(terms, publics, judge)
