"""Attacks by the other side, by miners and by who holds a fee down, and what a careless wallet
would agree to: each in real blocks, or refused before anything is funded."""

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest
from bitcoin.core import CTransaction, CTxOut
from bitcoin.core.script import SIGHASH_ALL, SIGVERSION_WITNESS_V0, CScript, SignatureHash
from coincurve import PrivateKey, PublicKey

from protocol.bitcoin.sighash import LeafSpend, sign_input, taproot_sighash
from protocol.bitcoin.taproot import tweak_key
from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    vsize,
    with_witness,
    witness_stack,
    wtxid,
)
from protocol.crypto.hashes import hash160
from protocol.crypto.keys import CURVE_ORDER
from protocol.errors import GuardError, PolicyError, SignatureError, TermsError
from protocol.settlement.closing import (
    close_nonce,
    close_session,
    close_tx,
    finish_close,
    require_partial,
)
from protocol.settlement.funding import Contribution, fund_spent, fund_tx, require_fund
from protocol.settlement.move import TRUC, Move
from protocol.settlement.payout import payout_of
from protocol.settlement.presign import require_signatures
from protocol.settlement.reading import name_of
from protocol.settlement.spending import TRUC_CHILD_MAX_VSIZE, bump_tx, sweep_tx, timeout_tx
from protocol.settlement.terms import ContractTerms, Role
from regtest.wallet import Wallet
from tests.builders.contracts import (
    AUX,
    BACKENDS,
    BAD_SIGNATURE,
    KEYS,
    SPENT,
    Stage,
    claim_of_bits,
    contract_of,
    contract_terms,
    deal,
    due,
    fee,
    opened_stage,
    party_terms,
    received,
)

UNITS = 0b0101_0011
ANNEX = b"\x50 hello"


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with opened_stage(request.param, tmp_path_factory.mktemp("node")) as opened:
        yield opened


# Races: two transactions that the next block may hold, and a reorganisation between them


def race(stage: Stage, one: CTransaction, other: CTransaction) -> None:
    """Whichever a block holds shuts the other out, until that block is gone."""
    for first, second in ((one, other), (other, one)):
        assert stage.chain.check(second).consensus
        stage.chain.mine(txs=[first])
        stage.refused(second, SPENT)
        stage.chain.reorg(1, txs=[])
    stage.chain.mine()


def test_a_claim_against_refund(stage: Stage) -> None:
    """A claim is safe from REFUND in a block, not in the mempool: begin it well before."""
    made = stage.fund(contract_terms(refund_height=stage.chain.height + 5))
    claim, refund = made.claim(Role.HOLDER, UNITS)[0], made.signed("REFUND")
    while stage.chain.height < made.terms.chain.refund_height:
        assert stage.chain.check(claim).consensus
        stage.refused(refund, "bad-txns-nonfinal")
        stage.chain.mine()
    race(stage, claim, refund)


def test_both_sides_claim(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    race(stage, *(made.claim(role, UNITS)[0] for role in Role))


def test_a_late_move_against_its_timeout(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    first, kickoff = made.claim(Role.WRITER, UNITS)
    stage.broadcast(first)
    timeout = timeout_tx(made.graph, made.graph.moves["writer:INPUT_1"], KEYS[Role.HOLDER], AUX)
    while not stage.chain.check(timeout).consensus:
        assert stage.chain.check(kickoff).consensus
        stage.chain.mine()
    race(stage, kickoff, timeout)


def test_late_evidence_against_the_provers_sweep(stage: Stage) -> None:
    """The other side has ``sweep_delay`` - 1 blocks for itself, and no block more."""
    made = stage.fund(contract_terms(sweep_delay=3))
    stage.settled(made, Role.HOLDER, UNITS)
    output = payout_of(made.graph, made.graph.settle(Role.HOLDER), UNITS).sweeps[Role.WRITER][0]
    shown, late = (
        sweep_tx(
            made.graph, made.graph.settle(Role.HOLDER), role, [output], KEYS[role], AUX,
            payout=made.payout(Role.HOLDER, UNITS),
        )
        for role in (Role.WRITER, Role.HOLDER)
    )  # fmt: skip
    for _ in range(2):
        assert stage.chain.check(shown).consensus
        stage.refused(late, "bad-txns-nonfinal")
        stage.chain.mine()
    race(stage, shown, late)


# Pins: a child that keeps its parent cheap, and the parent from a dearer child


def child(wallet: Wallet, parent: CTransaction, output: int, size: int) -> CTransaction:
    """At one sat a byte: it spends ``output`` and a coin of ``wallet``, in about ``size`` bytes."""
    coins = [Coin(outpoint(txid(parent), output), parent.vout[output]), wallet.utxos()[0].coin]
    spent, inputs = [coin.output for coin in coins], [txin(coin.outpoint) for coin in coins]

    def paying(outputs: int) -> CTransaction:
        rest = sum(coin.sats for coin in coins) - 1_000 * outputs - size
        outs = [txout(rest, wallet.script()), *[txout(1_000, wallet.script())] * outputs]
        tx = transaction(inputs, outs, version=TRUC)
        return wallet.sign(tx, spent, AUX)

    return max((tx for tx in map(paying, range(size // 43)) if vsize(tx) <= size), key=vsize)


def bump(stage: Stage, move: Move, signed: CTransaction, role: Role, rate: int) -> CTransaction:
    wallet = stage.wallets[role]
    made = bump_tx(move, signed, [wallet.utxos()[-1].coin], wallet.script(2), rate)
    return wallet.sign(made.tx, made.spent, AUX)


def waiting(stage: Stage) -> set[bytes]:
    return {wtxid(tx) for tx in stage.chain.mempool()}


def test_a_pin_on_the_anchor_makes_way(stage: Stage) -> None:
    """Anyone may take the anchor. A child has 1,000 bytes at most, so a dearer one costs little
    more than it would anyway, and replaces it."""
    made = stage.fund(contract_terms())
    first = made.claim(Role.HOLDER, UNITS)[0]
    move = made.graph.moves["holder:INPUT_1"]
    stage.chain.broadcast(first)
    writer = stage.wallets[Role.WRITER]
    with pytest.raises(PolicyError):
        stage.chain.broadcast(child(writer, first, move.anchor, TRUC_CHILD_MAX_VSIZE + 90))
    pin = child(writer, first, move.anchor, TRUC_CHILD_MAX_VSIZE)
    assert vsize(pin) > TRUC_CHILD_MAX_VSIZE - 43
    stage.chain.broadcast(pin)
    with pytest.raises(PolicyError):
        stage.chain.broadcast(child(writer, pin, 1, 200))
    mine = bump(stage, move, first, Role.HOLDER, 20)
    stage.chain.broadcast(mine)
    assert waiting(stage) == {wtxid(first), wtxid(mine)}
    stage.broadcast(bump(stage, move, first, Role.WRITER, 40))
    assert stage.chain.mempool() == ()


def test_a_pin_on_a_plain_output_makes_way(stage: Stage) -> None:
    """What REFUND and SETTLE pay to a party it may spend at once, as their only child: then the
    other side's child takes its place (sibling eviction), the pin's output is confirmed unspent."""
    script = stage.wallets[Role.WRITER].script(3)
    made = stage.fund(
        contract_terms(
            writer=party_terms(Role.WRITER, script=script),
            refund_height=stage.chain.height + 4,
        )
    )
    refund, move = made.signed("REFUND"), made.graph.moves["REFUND"]
    while not stage.chain.check(refund).consensus:
        stage.chain.mine()
    stage.chain.broadcast(refund)
    pin = child(stage.wallets[Role.WRITER], refund, 1, TRUC_CHILD_MAX_VSIZE)
    stage.chain.broadcast(pin)
    cheap = bump(stage, move, refund, Role.HOLDER, 3)
    with pytest.raises(PolicyError):
        stage.chain.broadcast(cheap)
    mine = bump(stage, move, refund, Role.HOLDER, 20)
    stage.chain.broadcast(mine)
    assert waiting(stage) == {wtxid(refund), wtxid(mine)}
    stage.chain.mine()
    known = stage.chain.tx(txid(refund))
    assert known is not None and known.block is not None


def test_a_child_of_another_kind_is_no_pin(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    first = made.claim(Role.HOLDER, UNITS)[0]
    stage.chain.broadcast(first)
    move = made.graph.moves["holder:INPUT_1"]
    mine = bump(stage, move, first, Role.HOLDER, 20)
    spent = [first.vout[move.anchor], stage.wallets[Role.HOLDER].utxos()[-1].coin.output]
    old = transaction(mine.vin, mine.vout, version=2)
    with pytest.raises(PolicyError):
        stage.chain.broadcast(stage.wallets[Role.HOLDER].sign(old, spent, AUX))
    unconfirmed = stage.wallets[Role.HOLDER].pay([txout(50_000, b"\x51\x20" + bytes(32))], AUX)
    stage.chain.broadcast(unconfirmed)
    coin = Coin(outpoint(txid(unconfirmed), 1), unconfirmed.vout[1])
    careless = bump_tx(move, first, [coin], stage.wallets[Role.HOLDER].script(2), 20)
    with pytest.raises(PolicyError):
        stage.chain.broadcast(stage.wallets[Role.HOLDER].sign(careless.tx, careless.spent, AUX))
    stage.broadcast(mine)


# Signatures and keys


@pytest.mark.parametrize("hash_type", [0x01, 0x02, 0x03, 0x81, 0x82, 0x83])
def test_a_signature_of_less_than_everything(hash_type: int) -> None:
    """65 bytes are refused, and so are 64 of them under a digest that is not DEFAULT's."""
    made = deal(contract_terms())
    right = made.signatures[Role.WRITER]
    names = ["REFUND", "holder:INPUT_1", "writer:SETTLE", "holder:EXECUTE_addi", "writer:TAKE_2"]
    for move, number, way in made.graph.ways():
        if way.name not in names:
            continue
        names.remove(way.name)
        key = KEYS[Role.WRITER].signer(way.signers[Role.WRITER])
        leaf = LeafSpend(way.leaf.hash)
        loose = sign_input(move.tx, number, move.spent, key, AUX, hash_type, leaf=leaf)
        for signature in (loose, loose[:64]):
            with pytest.raises(SignatureError, match=f"does not fit {way.name}: do not fund"):
                require_signatures(made.graph, Role.WRITER, {**right, way.name: signature})
    assert not names


def test_a_rogue_key_neither_owns_fund_nor_signs() -> None:
    """A key that cancels the holder's in a plain sum: MuSig2 weighs them, and REFUND wants a
    signature of it, which nobody can give."""
    holder, writer = KEYS[Role.HOLDER].key, KEYS[Role.WRITER].key
    less = PublicKey(b"\x03" + holder.public)
    sums = [PublicKey.combine_keys([PublicKey(p + writer.public), less]) for p in (b"\2", b"\3")]
    rogue = next(key for key in (key.format() for key in sums) if key[0] == 2)
    plain = PublicKey.combine_keys([PublicKey(rogue), PublicKey(holder.point)])
    assert plain.format()[1:] == writer.public
    terms = contract_terms(writer=party_terms(Role.WRITER, key=rogue[1:]))
    contract = contract_of(terms)
    root = contract.lock.output.merkle_root
    assert contract.aggregate.public != writer.public
    assert contract.lock.output.output_key != tweak_key(writer, root).public
    with pytest.raises(SignatureError, match="is no key of this party"):
        deal(terms)


def test_a_nonce_that_cancels_or_copies(stage: Stage) -> None:
    """The writer answers with the holder's own nonce, or its negative: CLOSE is signed by both or
    not at all, and the holder's key stays its own."""
    made = stage.fund(contract_terms())
    contract, keys = made.graph.contract, {role: KEYS[role].key for role in Role}
    close = close_tx(contract, made.graph.fund, 100_000)
    for change in (lambda half: half, lambda half: bytes([half[0] ^ 1]) + half[1:]):
        mine = close_nonce(contract, close, keys[Role.HOLDER], lambda n: b"\x31" * n)
        theirs = change(mine.public[:33]) + change(mine.public[33:])
        session = close_session(contract, close, {Role.HOLDER: mine.public, Role.WRITER: theirs})
        partial = session.sign(mine, keys[Role.HOLDER])
        require_partial(contract, session, Role.HOLDER, partial)
        negated = (CURVE_ORDER - int.from_bytes(partial)).to_bytes(32)
        for forged in (partial, negated, bytes(32)):
            with pytest.raises(SignatureError, match="the writer's partial signature"):
                finish_close(contract, close, session, {Role.HOLDER: partial, Role.WRITER: forged})
        alone = with_witness(close, [[mine.public[1:33] + partial]])
        stage.refused(alone, BAD_SIGNATURE)


def test_a_partial_signature_of_another_payout(stage: Stage) -> None:
    """The same nonce cannot serve two offers: what was signed for one split is worth nothing for
    another, nor for the same split of another contract."""
    made, twin = stage.fund(contract_terms()), stage.fund(contract_terms())
    contract = made.graph.contract
    assert made.graph.fund != twin.graph.fund and contract == twin.graph.contract
    splits = [
        close_tx(contract, made.graph.fund, 100_000),
        close_tx(contract, made.graph.fund, 100_001),
        close_tx(contract, twin.graph.fund, 100_000),
    ]
    nonces = {
        role: close_nonce(contract, splits[0], KEYS[role].key, secrets.token_bytes) for role in Role
    }
    publics = {role: nonce.public for role, nonce in nonces.items()}
    sessions = [close_session(contract, close, publics) for close in splits]
    partials = {role: sessions[0].sign(nonces[role], KEYS[role].key) for role in Role}
    for close, session in zip(splits[1:], sessions[1:], strict=True):
        for role in Role:
            with pytest.raises(SignatureError, match=f"the {role.value}'s partial signature"):
                require_partial(contract, session, role, partials[role])
            with pytest.raises(SignatureError, match="this nonce has signed"):
                session.sign(nonces[role], KEYS[role].key)
        signed = finish_close(contract, splits[0], sessions[0], partials)
        stage.refused(with_witness(close, [witness_stack(signed, 0)]), BAD_SIGNATURE)


def test_what_was_signed_for_one_fund_is_worth_nothing_for_another(stage: Stage) -> None:
    """The same terms funded twice: other signatures, and one-time keys that have signed."""
    made, twin = stage.fund(contract_terms()), stage.fund(contract_terms())
    first = made.claim(Role.HOLDER, UNITS)[0]
    move = twin.graph.moves["holder:INPUT_1"]
    stage.refused(with_witness(move.tx, [witness_stack(first, 0)]), BAD_SIGNATURE)
    with pytest.raises(GuardError, match="has signed another message"):
        replace(twin, guard=made.guard).claim(Role.HOLDER, UNITS + 1)


def test_a_signature_of_fund_that_is_changed_on_its_way(stage: Stage) -> None:
    """Whoever relays an ECDSA signature can negate its s: FUND's id stays, and all that was signed
    for its output."""
    key = PrivateKey(b"\x21" * 32)
    point = key.public_key.format()
    script = b"\x00\x14" + hash160(point)
    paid = stage.wallets[Role.HOLDER].pay([txout(2_000_000, script)], AUX)
    stage.broadcast(paid)
    terms = contract_terms()
    contract = contract_of(terms)
    holder = Contribution((Coin(outpoint(txid(paid), 0), paid.vout[0]),), script)
    writer = stage.contribution(contract, Role.WRITER)
    fund = fund_tx(contract, holder, writer)
    made = deal(terms, require_fund(contract, fund, holder, writer))
    fund = stage.wallets[Role.WRITER].sign(fund, fund_spent(holder, writer), AUX)
    code = CScript(b"\x76\xa9\x14" + hash160(point) + b"\x88\xac")
    digest = SignatureHash(code, fund, 0, SIGHASH_ALL, 2_000_000, SIGVERSION_WITNESS_V0)
    der = key.sign(digest, hasher=None)
    at = 4 + der[3]
    high = (CURVE_ORDER - int.from_bytes(der[at + 2 :])).to_bytes(33)
    negated = der[2:at] + b"\x02\x21" + high
    changed = bytes([0x30, len(negated)]) + negated
    stacks = [[changed + b"\x01", point], witness_stack(fund, 1)]
    stage.chain.mine(txs=[with_witness(fund, stacks)])
    stage.broadcast(*made.claim(Role.HOLDER, UNITS))


def test_an_annex_hides_nothing(stage: Stage) -> None:
    """A party that mines may add one to what it signs alone: the other side reads the rest."""
    made = stage.fund(contract_terms())
    move = made.graph.moves["holder:INPUT_1"]
    stage.broadcast(made.claim(Role.HOLDER, UNITS)[0])
    stage.chain.mine(made.terms.chain.move_window)
    timeout = timeout_tx(made.graph, move, KEYS[Role.WRITER], AUX)
    leaf = move.locks[0].path("holder:TIMEOUT").leaf
    digest = taproot_sighash(timeout, 0, [move.tx.vout[0]], annex=ANNEX, leaf=LeafSpend(leaf.hash))
    signature = KEYS[Role.WRITER].challenger_key.sign(digest, AUX)
    hidden = with_witness(timeout, [[signature, *witness_stack(timeout, 0)[1:], ANNEX]])
    with pytest.raises(PolicyError):
        stage.chain.broadcast(hidden)
    stage.chain.mine(txs=[hidden])
    assert name_of(made.graph, hidden) == "holder:TIMEOUT"


# Terms at their limits


def dearest(terms: ContractTerms) -> ContractTerms:
    """``terms`` with the least bond that they can have."""
    with pytest.raises(TermsError, match="post at least") as caught:
        contract_of(replace(terms, chain=replace(terms.chain, bond_sats=1)))
    least = int(str(caught.value).rsplit(" ", 1)[1])
    return replace(terms, chain=replace(terms.chain, bond_sats=least))


@pytest.mark.parametrize("prover", Role, ids=lambda role: role.value)
@pytest.mark.parametrize(
    ("rate", "bits", "unit_sats"), [(1_000, 16, 400_000), (1, 20, 1_000)], ids=["fee", "bits"]
)
def test_the_largest_contract(
    stage: Stage, prover: Role, rate: int, bits: int, unit_sats: int
) -> None:
    """Eight signatures, an early exercise, wide hashes, the least bond that covers it: every
    transaction is relayed and every output can be taken by itself."""
    terms = dearest(
        contract_terms(
            claim_of_bits(bits, quorum=8, unit_sats=unit_sats, is_american=True),
            feerate_sat_vb=rate,
            max_feerate_sat_vb=rate,
            claim_fee_sats=1_000 * rate,
            premium_sats=0,
            log4_steps=15,
            width=32,
        )
    )
    made = stage.fund(terms)
    units = 0b1010_1100_0011_0101
    moves = made.claim(prover, units)
    assert len(moves) == 5
    for tx in moves:
        assert stage.chain.check(tx).relayed is not False
        stage.broadcast(tx)
    settle = made.settle(prover)
    stage.when_ripe(settle)
    stage.chain.mine(terms.chain.sweep_delay - 1)
    payout = made.payout(prover, units)
    for role, outputs in payout_of(made.graph, made.graph.settle(prover), units).sweeps.items():
        sweeps = [
            sweep_tx(
                made.graph,
                made.graph.settle(prover),
                role,
                [output],
                KEYS[role],
                AUX,
                payout=payout,
            )
            for output in outputs
        ]
        stage.chain.mine(txs=sweeps)
        fees = sum(fee(tx, settle) for tx in sweeps)
        assert received(role, terms, settle, *sweeps) + fees == due(made.graph, prover, units)[role]


def test_a_bit_at_the_border_of_its_sweep(stage: Stage) -> None:
    """The least bit that has an output can be taken alone, at the highest rate, by either side."""

    def terms_of(unit_sats: int) -> ContractTerms:
        return contract_terms(
            claim_of_bits(unit_sats=unit_sats), max_feerate_sat_vb=9, bond_sats=3_000_000
        )

    def is_rounded(unit_sats: int) -> bool:
        return any(split.rounded_sats for split in contract_of(terms_of(unit_sats)).splits.values())

    least, most = 1_000, 10_000
    while least < most:
        middle = (least + most) // 2
        least, most = (middle + 1, most) if is_rounded(middle) else (least, middle)
    assert is_rounded(least - 1) and not is_rounded(least)
    for prover in Role:
        made = stage.fund(terms_of(least))
        stage.settled(made, prover, UNITS)
        stage.chain.mine(made.terms.chain.sweep_delay - 1)
        for role in Role:
            units = 0 if role is Role.WRITER else 255
            alone = sweep_tx(
                made.graph, made.graph.settle(prover), role, [0], KEYS[role], AUX,
                payout=made.payout(prover, units), feerate_sat_vb=9,
            )  # fmt: skip
            assert stage.chain.check(alone).accepted and int(alone.vout[0].nValue) >= 330


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\x6a\x04gone",
        b"\x51\x02\x4e\x73",
        b"\x51\x14" + bytes(20),
        b"\x52\x20" + bytes(32),
        b"\x60\x02ab",
        b"\x00\x10" + bytes(16),
        b"\x21" + b"\x02" * 33 + b"\xac",
        b"\x51\x21" + b"\x02" * 33 + b"\x51\xae",
        b"\x51",
    ],
    ids=["none", "data", "anchor", "short v1", "v2", "v16", "odd v0", "bare", "multisig", "true"],
)
def test_a_script_that_is_nobodys_or_not_relayed(script: bytes) -> None:
    with pytest.raises(TermsError, match=f"script {script.hex()}: give a P2PKH, P2SH"):
        party_terms(Role.WRITER, script=script)
    coins = (Coin(outpoint(b"\x07" * 32, 0), CTxOut(9, CScript(b"\x51\x20" + bytes(32)))),)
    with pytest.raises(TermsError, match=f"change_script {script.hex()}: give a P2PKH"):
        Contribution(coins, script)
