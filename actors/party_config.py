"""A party's own file: who it is, whom it trades with, and the contract that it wants (TOML).

    [party]     role, folder, address, the sockets of the Bitcoin node and, if wanted, of a prover
    [keys]      paths of the identity's and the wallet's key, never keys
    [peer]      the other side's identity key, and its URL if this side dials it
    [oracles]   the network file of the oracles, and the feed
    [terms]     instrument, amounts, heights, windows: what this side offers and accepts
    [close]     whether it closes together with the other side, and when it claims instead
    [psbt]      the coins of an external wallet, instead of a wallet key

Paths are relative to the file. No secret is read here. The writer dials the holder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from bitcoin.core import COutPoint
from msgspec import Meta

from actors.config import chain_network
from actors.epochs import load_networks
from actors.network import Network as OracleNetwork
from actors.network import PublicHex, Table, decode, load_network
from actors.party_offer import Offer
from actors.transport_options import Address, Peer, is_loopback, parse_address, parse_url
from protocol.bitcoin.address import Network as BitcoinNetwork
from protocol.bitcoin.address import decode_address
from protocol.bitcoin.script import LOCKTIME_THRESHOLD
from protocol.bitcoin.tx import outpoint, parse_hash
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConfigError, ProtocolError
from protocol.oracle.feed import Feed
from protocol.settlement.policy import Close, Limits, Policy
from protocol.settlement.terms import ChainTerms, ClaimTerms, Role

ADDRESSES: Final[Mapping[Role, int]] = {Role.HOLDER: 0, Role.WRITER: 1}
"""The parties on the wire; the higher address dials the lower one."""

_TAG: Final = "btcfi/party/peers/v1"

Text = Annotated[str, Meta(min_length=1)]
Outpoint = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}:[0-9]{1,5}\Z")]


class _Party(Table, frozen=True):
    role: Literal["holder", "writer"]
    folder: Text
    chain: Text
    listen: str | None = None
    network: str = "regtest"
    depth: Annotated[int, Meta(ge=1, le=100)] = 3
    log: Literal["debug", "info", "warning", "error"] = "info"
    prover: Text | None = None  # the socket of `oracle-vm prover run`


class _Keys(Table, frozen=True):
    identity: Text
    wallet: Text | None = None


class _Peer(Table, frozen=True):
    identity_key: PublicHex
    url: str = ""


class _Oracles(Table, frozen=True):
    network: Text
    feed: str = "BTC/USD"
    epoch: int | None = None  # whose oracles settle; by default the network file's own


class Closing(Table, frozen=True):
    """[close]: see ``protocol.settlement.policy``."""

    cooperate: Close = Close.OFFER
    claims: bool = True
    claim_after_s: Annotated[int, Meta(ge=0, le=10**6)] = 600
    claim_after_blocks: Annotated[int, Meta(ge=0, le=10**5)] = 6
    claim_margin_blocks: Annotated[int, Meta(ge=1, le=10**5)] = 6


class _Psbt(Table, frozen=True):
    folder: Text
    coins: Annotated[tuple[Outpoint, ...], Meta(min_length=1, max_length=100)]
    change: Text


class _PartyFile(Table, frozen=True):
    party: _Party
    keys: _Keys
    peer: _Peer
    oracles: _Oracles
    terms: Offer
    close: Closing = Closing()
    psbt: _Psbt | None = None


@dataclass(frozen=True, slots=True)
class ExternalWallet:
    """Coins of a wallet that signs PSBT files in ``folder``, and where its change goes."""

    folder: Path
    coins: tuple[COutPoint, ...]
    change_script: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyConfig:
    """One side of one contract. ``keys`` are paths by purpose; ``wallet`` is None where there is a
    key for the built-in one; ``listen`` is the holder's address, None for the writer, who dials;
    ``prover`` is the socket of a process that runs the machine, None where this one does."""

    role: Role
    folder: Path
    listen: Address | None
    chain: Path
    network: BitcoinNetwork
    log: str
    keys: Mapping[str, Path]
    peer: Peer
    oracles: OracleNetwork
    feed: Feed
    instrument: str
    claim: ClaimTerms
    terms: ChainTerms
    depth: int
    close: Closing
    wallet: ExternalWallet | None
    prover: Path | None = None

    def roster(self, identity: bytes) -> dict[int, Peer]:
        """Both parties by their addresses; ``identity`` is this one's x-only key. ConfigError if
        the peer has the same one."""
        if identity == self.peer.identity:
            raise ConfigError("[peer] identity_key: it is this party's own; write the other side's")
        return {ADDRESSES[self.role]: Peer(identity), ADDRESSES[self.role.other]: self.peer}

    def policy(self, script: bytes) -> Policy:
        """What the party, which is paid to ``script``, agrees to: this contract and no other,
        however far away it ends; blocks of a test network take a second."""
        return Policy(
            script=script,
            limits=Limits(
                contracts=frozenset({(self.claim, self.terms)}),
                expiry_blocks=(0, LOCKTIME_THRESHOLD),
            ),
            depth=self.depth,
            close=self.close.cooperate,
            claims=self.close.claims,
            claim_after_ms=1000 * self.close.claim_after_s,
            claim_after_blocks=self.close.claim_after_blocks,
            claim_margin_blocks=self.close.claim_margin_blocks,
        )

    def digest(self, identity: bytes) -> bytes:
        """What both must share before they talk: identities, Bitcoin network, oracles, feed."""
        roster = self.roster(identity)
        both = b"".join(roster[address].identity for address in sorted(roster))
        oracles = self.oracles.config.digest + self.feed.feed_id
        return tagged_hash(_TAG, both + oracles + self.network.name.encode())


def load_party(path: Path) -> PartyConfig:
    """The party in ``path``; ConfigError names file, table and field and what it should be."""
    file = decode(path, _PartyFile)
    oracles = _oracles(path.parent / file.oracles.network, file.oracles.epoch)
    try:
        return _party(file, path.parent, oracles)
    except ProtocolError as error:
        raise ConfigError(f"{path}: {error}") from None


def _oracles(path: Path, epoch: int | None) -> OracleNetwork:
    if epoch is None:
        return load_network(path)
    try:
        return load_networks(path).epoch(epoch)
    except ConfigError as error:
        raise ConfigError(f"[oracles] epoch: {error}") from None


def _party(file: _PartyFile, folder: Path, oracles: OracleNetwork) -> PartyConfig:
    role = Role(file.party.role)
    try:
        network = chain_network(file.party.network)
    except ConfigError as error:
        raise ConfigError(f"[party] {error}") from None
    try:
        feed = oracles.feed(file.oracles.feed)
    except ConfigError as error:
        raise ConfigError(f"[oracles] {error}") from None
    try:
        claim, terms = file.terms.claim(oracles.config, feed), file.terms.chain
    except ProtocolError as error:
        raise ConfigError(f"[terms] {error}") from None
    return PartyConfig(
        role=role,
        folder=folder / file.party.folder,
        listen=_listen(file, role),
        chain=folder / file.party.chain,
        network=network,
        log=file.party.log,
        keys=_key_paths(file, folder),
        peer=Peer(bytes.fromhex(file.peer.identity_key), _peer_url(file, role)),
        oracles=oracles,
        feed=feed,
        instrument=file.terms.instrument,
        claim=claim,
        terms=terms,
        depth=file.party.depth,
        close=file.close,
        wallet=_wallet(file, folder, network),
        prover=None if file.party.prover is None else folder / file.party.prover,
    )


def _listen(file: _PartyFile, role: Role) -> Address | None:
    text = file.party.listen
    if role is Role.WRITER:
        if text is not None:
            raise ConfigError("[party] listen: the writer dials the holder, remove this line")
        return None
    if text is None:
        raise ConfigError("[party] listen: the holder listens for the writer; write HOST:PORT")
    address = parse_address("[party] listen", text)
    if not is_loopback(address.host):
        raise ConfigError(
            f"[party] listen: {text}: listen on loopback; to reach it from elsewhere put a proxy"
            " with a certificate in front, and give the writer its wss:// URL"
        )
    return address


def _peer_url(file: _PartyFile, role: Role) -> str:
    url = file.peer.url
    if role is Role.HOLDER:
        if url:
            raise ConfigError("[peer] url: the holder waits for the writer, remove this line")
        return ""
    parse_url("[peer] url", url)
    return url


def _key_paths(file: _PartyFile, folder: Path) -> dict[str, Path]:
    keys = file.keys
    if (keys.wallet is None) == (file.psbt is None):
        raise ConfigError(
            "[keys] wallet and [psbt]: a key of the built-in wallet or an external one, one of both"
        )
    paths = {"identity": folder / keys.identity}
    if keys.wallet is not None:
        paths["wallet"] = folder / keys.wallet
        if paths["wallet"].resolve() == paths["identity"].resolve():
            raise ConfigError("[keys] wallet: the same file as identity; one file a purpose")
    return paths


def _wallet(file: _PartyFile, folder: Path, network: BitcoinNetwork) -> ExternalWallet | None:
    table = file.psbt
    if table is None:
        return None
    if len(set(table.coins)) < len(table.coins):
        raise ConfigError("[psbt] coins: one is listed twice")
    try:
        change = decode_address(table.change, network)
    except ProtocolError as error:
        raise ConfigError(f"[psbt] change: {error}") from None
    return ExternalWallet(folder / table.folder, tuple(map(_outpoint, table.coins)), change)


def _outpoint(text: str) -> COutPoint:
    txid, index = text.split(":")
    return outpoint(parse_hash(txid), int(index))
