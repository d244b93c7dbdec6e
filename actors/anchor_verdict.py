"""``oracle-vm verify --anchor TXID``: whether a transaction commits to a claim or a history."""

from contextlib import closing
from pathlib import Path

from actors.chain_anchor import find_anchor, require_claim, require_head
from actors.chain_commands import opened
from actors.chain_contracts import contracts_below, read_contract
from actors.config import Chain
from actors.history import History
from actors.verify_command import Details, Verdict, from_hex, parse, read
from protocol.bitcoin.tx import parse_hash
from protocol.errors import ConfigError, EncodingError, ProtocolError
from protocol.oracle import expiry as exp
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.claim import Claim, claim_of
from protocol.settlement.terms import ContractTerms, contract_id

CLAIM = "anchor of a claim"
HISTORY = "anchor of a history"


def judge_anchor(
    txid: str,
    depth: int,
    folder: Path | None,
    socket: Path | None,
    file: Path | None,
    contract: Path | None,
    history: Path | None,
) -> Verdict:
    """The verdict; ConfigError for options that name no chain, or not what to check against."""
    if history is None and contract is None and socket is None:
        below = contracts_below(folder or Path())
        contract = below[0] if len(below) == 1 else None
    if (history is None) == (contract is None):
        raise ConfigError("--anchor: give --contract or --history, to check it against")
    name = parse_hash(txid)
    with opened(folder, socket) as chain:
        try:
            if history is not None:
                return Verdict(HISTORY, None, _history(chain, name, depth, history))
            assert contract is not None
            return Verdict(CLAIM, None, _claim(chain, name, depth, file, contract))
        except ConfigError:
            raise
        except ProtocolError as error:
            return Verdict(CLAIM if history is None else HISTORY, str(error), {})


def _history(chain: Chain, txid: bytes, depth: int, history: Path) -> Details:
    found = find_anchor(chain, txid, depth)
    with closing(History.read(history)) as source:
        certificate = require_head(found, source)
    return found.place | {"round": certificate.round, "certificate": certificate.hash.hex()}


def _claim(chain: Chain, txid: bytes, depth: int, file: Path | None, contract: Path) -> Details:
    found = find_anchor(chain, txid, depth)
    settled = read_contract(contract)
    terms, known = settled.terms, settled.facts.known
    if file is not None:
        claim = claim_in(read(file), terms)
    elif known is not None:
        claim = claim_of(terms, known.certificate)
    else:
        raise ConfigError(f"{contract}: no certificate in it; give FILE, a claim or an expiry")
    root = require_claim(found, terms, claim)
    return found.place | {
        "contract": contract_id(terms).hex(),
        "root": root.hex(),
        "payout_sats": int(terms.claim.payout_sats(claim.units)),
    }


def claim_in(data: bytes, terms: ContractTerms) -> Claim:
    """The claim in a file, in hex; or the one that follows from an expiry certificate, in hex or
    JSON."""
    text = data.decode("utf-8", errors="replace").strip()
    message = parse(data)[2] if text.startswith("{") else from_hex("file", text)
    if message[:4] == exp.MAGIC:
        return claim_of(terms, ExpiryCertificate.decode(message))
    if text.startswith("{"):
        raise EncodingError("this JSON holds no expiry: only an expiry settles a contract")
    return Claim.decode(message)
