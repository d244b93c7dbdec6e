"""Winternitz-signed messages in tapscript, judged by Bitcoin Core's interpreter and in blocks."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from bitcoin.core import CTransaction, CTxOut
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import number_bytes, parse_number, script, single_key
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import (
    NUMS_KEY,
    TapLeaf,
    TaprootOutput,
    key_path_script,
    taproot_output,
)
from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    serialize,
    transaction,
    txid,
    txin,
    txout,
    with_witness,
)
from protocol.bitcoin.winternitz_script import (
    MAX_STACK_ITEMS,
    WORKING_ITEMS,
    constant_items,
    message_items,
    read_message,
    require_bit,
    require_stack,
    to_altstack,
    verify_bit,
    verify_constant,
    verify_message,
)
from protocol.crypto.hashes import hash160
from protocol.crypto.keys import SecretKey
from protocol.crypto.winternitz import (
    TOP,
    Digits,
    Label,
    OneTimeKey,
    OneTimePublicKey,
    number_digits,
    with_checksum,
)
from protocol.errors import ConsensusError, ScriptError, SignatureError
from regtest.kernel import KernelChain
from regtest.libkernel import verify_input
from regtest.wallet import Wallet

AUX = bytes(32)
SEED = b"\x5e" * 32
LABEL = Label(b"\xc0" * 32, "holder", "prover", 0, "payout", 4)
PAYOUT = OneTimeKey(SEED, LABEL)
MESSAGE = (0, 5, 10, 15)
TRUE = script(Op.TRUE)

FUNDED = txout(100_000, b"")
NOWHERE = Coin(outpoint(b"\x07" * 32, 0), FUNDED)


def key_for(digits: int) -> OneTimeKey:
    return OneTimeKey(SEED, replace(LABEL, digits=digits))


def expect(digits: Sequence[int]) -> bytes:
    """These digits are on the stack, the last on top, byte for byte minimal; then nothing else."""
    return script(*[part for d in reversed(digits) for part in (d, Op.EQUALVERIFY)]) + TRUE


def locked(code: bytes) -> TaprootOutput:
    return taproot_output(NUMS_KEY, TapLeaf(code))


def spend(code: bytes, items: Sequence[bytes], coin: Coin = NOWHERE) -> CTransaction:
    out = txout(90_000, key_path_script(NUMS_KEY))
    stack = [*items, code, locked(code).control_block(TapLeaf(code))]
    return with_witness(transaction([txin(coin.outpoint)], [out]), [stack])


def holds(code: bytes, items: Sequence[bytes]) -> bool:
    """Whether the witness satisfies the leaf, asked of Bitcoin Core's interpreter."""
    spent: list[CTxOut] = [txout(100_000, locked(code).script_pubkey)]
    return verify_input(spend(code, items), 0, spent)


# What is left for the rest of a leaf


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, TOP), min_size=1, max_size=20).map(tuple), st.booleans(), st.data())
def test_the_digits_are_left_in_order(message: Digits, first: bool, data: st.DataObject) -> None:
    key = key_for(len(message))
    items = message_items(message, key.sign(message, {}))
    code = verify_message(key.public, first=first)
    assert holds(code + expect(message), items)
    place = data.draw(st.integers(0, len(message) - 1))
    wrong = (*message[:place], message[place] ^ 1, *message[place + 1 :])
    assert not holds(code + expect(wrong), items)
    kept = data.draw(st.sets(st.integers(0, len(message) - 1)))
    some = verify_message(key.public, first=first, keep=kept)
    assert holds(some + expect([message[n] for n in sorted(kept)]), items)
    assert read_message(key.public, items) == (message, key.sign(message, {}))


@pytest.mark.parametrize("size", [20, 32])
def test_a_hash_in_one_leaf(size: int) -> None:
    message = tuple((7 * n + size) % 16 for n in range(2 * size))
    key = key_for(2 * size)
    items = message_items(message, key.sign(message, {}))
    assert holds(verify_message(key.public, first=True) + expect(message), items)


def test_several_messages_in_one_leaf() -> None:
    """Each goes to the altstack while the next is verified, and comes back leftmost first."""
    keys = [OneTimeKey(SEED, replace(LABEL, field=name)) for name in ("a", "b", "c")]
    messages = [(1, 2, 3, 4), (5, 6, 7, 8), (15, 0, 15, 0)]
    code = b"".join(verify_message(k.public, first=True) + to_altstack(4) for k in keys)
    code += script(*[Op.FROMALTSTACK] * 12)
    items = [
        item
        for key, message in zip(keys[::-1], messages[::-1], strict=True)
        for item in message_items(message, key.sign(message, {}))
    ]
    left = [digit for message in reversed(messages) for digit in message]
    assert holds(code + expect(left), items)
    assert not holds(code + expect(left), items[12:] + items[:12])


def test_only_the_constant_passes() -> None:
    code = verify_constant(PAYOUT.public, MESSAGE, first=True) + TRUE
    assert holds(code, constant_items(PAYOUT.public, PAYOUT.sign(MESSAGE, {})))
    for other in ((0, 5, 10, 14), (0, 5, 11, 15), (15, 15, 15, 15), (0, 0, 0, 0), (5, 0, 10, 15)):
        signature = list(PAYOUT.sign(other, {}))
        assert not holds(code, constant_items(PAYOUT.public, signature))
        # Forwards to the constant's digits where the chains allow it.
        have, want = with_checksum(other), with_checksum(MESSAGE)
        for n, (at, to) in enumerate(zip(have, want, strict=True)):
            for _ in range(to - at):
                signature[n] = hash160(signature[n])
        assert not holds(code, constant_items(PAYOUT.public, signature))


def test_every_bit_of_every_digit() -> None:
    for bit in range(4):
        for value in (False, True):
            code = require_bit(bit, value) + TRUE
            passing = [digit for digit in range(16) if holds(code, [number_bytes(digit)])]
            assert passing == [digit for digit in range(16) if bool(digit >> bit & 1) == value]


@pytest.mark.parametrize("units", [0, 1, 0x8000, 0xFFFF, 0xA5C3])
def test_a_payout_output_pays_by_its_bit(units: int) -> None:
    """The sweep of a bit: 16 leaves for 0 and 16 for 1, of which exactly the signed ones open."""
    message = number_digits(units, 4)
    items = message_items(message, PAYOUT.sign(message, {}))
    for bit in range(16):
        for value in (False, True):
            code = verify_bit(PAYOUT.public, bit, value, first=False) + TRUE
            assert holds(code, items) == (bool(units >> bit & 1) == value), (bit, value)


# Attacks, each refused in a block for the reason it should be


@dataclass
class Stage:
    chain: KernelChain
    wallet: Wallet

    def fund(self, code: bytes) -> Coin:
        pay = self.wallet.pay([txout(100_000, locked(code).script_pubkey)], AUX)
        self.chain.broadcast(pay)
        self.chain.mine()
        return Coin(outpoint(txid(pay), 0), pay.vout[0])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    datadir = tmp_path_factory.mktemp("node")
    with KernelChain(datadir) as chain:
        wallet = Wallet(chain, SecretKey(b"\x44" * 32))
        chain.mine(5, to=wallet.script())
        chain.mine(100)
        yield Stage(chain, wallet)
    shutil.rmtree(datadir)


Pairs = list[tuple[bytes, bytes]]
"""Element and digit of each chain: the message's, then the checksum's."""

SIGNED = with_checksum(MESSAGE)
ELEMENTS = PAYOUT.sign(MESSAGE, {})
EQUAL = "OP_EQUALVERIFY"
SUM = "OP_NUMEQUALVERIFY"
DEPTH = "Operation not valid with the current stack size"
NUMBER = "Script number overflowed"


def pairs() -> Pairs:
    return [(element, number_bytes(d)) for element, d in zip(ELEMENTS, SIGNED, strict=True)]


def items_of(chains: Pairs) -> list[bytes]:
    return [item for pair in [*chains[4:], *chains[:4]] for item in pair]


def with_digit(chain: int, item: bytes) -> list[bytes]:
    changed = pairs()
    changed[chain] = changed[chain][0], item
    return items_of(changed)


def advanced(steps: dict[int, int], claimed: dict[int, int]) -> list[bytes]:
    """Elements hashed forwards by ``steps``, digits raised by ``claimed``."""
    changed = pairs()
    for chain, count in steps.items():
        element = changed[chain][0]
        for _ in range(count):
            element = hash160(element)
        changed[chain] = element, changed[chain][1]
    for chain, more in claimed.items():
        changed[chain] = changed[chain][0], number_bytes(SIGNED[chain] + more)
    return items_of(changed)


def reordered(a: int, b: int) -> list[bytes]:
    changed = pairs()
    changed[a], changed[b] = changed[b], changed[a]
    return items_of(changed)


def signed_by(label: Label) -> list[bytes]:
    return list(message_items(MESSAGE, OneTimeKey(SEED, label).sign(MESSAGE, {})))


HONEST = items_of(pairs())
END = PAYOUT.public.ends

ATTACKS: dict[str, tuple[list[bytes], str]] = {
    "a larger digit, nothing else": (with_digit(1, b"\x06"), EQUAL),
    "a smaller digit, nothing else": (with_digit(1, b"\x04"), EQUAL),
    "a larger digit with its element": (advanced({1: 1}, {1: 1}), SUM),
    "all the way up": (advanced({0: 15}, {0: 15}), SUM),
    "up, and the checksum's digit down": (advanced({1: 1}, {1: 1, 5: -1}), EQUAL),
    "up, and the checksum up": (advanced({1: 1, 5: 1}, {1: 1, 5: 1}), SUM),
    "one up, another down": (advanced({1: 1}, {1: 1, 2: -1}), EQUAL),
    "16 for 15": (with_digit(3, b"\x10"), EQUAL),
    "16 for 0": (with_digit(0, b"\x10"), EQUAL),
    "17": (with_digit(3, b"\x11"), EQUAL),
    "the largest number": (with_digit(3, b"\xff\xff\xff\x7f"), EQUAL),
    "-1": (with_digit(0, b"\x81"), DEPTH),
    "the smallest number": (with_digit(0, b"\xff\xff\xff\xff"), DEPTH),
    "-5": (with_digit(1, b"\x85"), DEPTH),
    "five bytes": (with_digit(1, b"\x05\0\0\0\0"), NUMBER),
    "an element for a digit": (with_digit(1, ELEMENTS[1]), NUMBER),
    "the chain's end for a digit": (with_digit(1, END[1]), NUMBER),
    "two chains swapped": (reordered(1, 2), EQUAL),
    "checksum chains swapped": (reordered(4, 5), EQUAL),
    "digits of a byte swapped": (message_items((5, 0, 10, 15), ELEMENTS), EQUAL),
    "another contract": (signed_by(replace(LABEL, contract_id=b"\xc1" * 32)), EQUAL),
    "the other direction": (signed_by(replace(LABEL, direction="writer")), EQUAL),
    "the other role": (signed_by(replace(LABEL, role="challenger")), EQUAL),
    "another round": (signed_by(replace(LABEL, round=1)), EQUAL),
    "another field": (signed_by(replace(LABEL, field="root")), EQUAL),
    "an empty element": ([*HONEST[:10], b"", *HONEST[11:]], EQUAL),
    "a cut element": ([*HONEST[:10], HONEST[10][:19], *HONEST[11:]], EQUAL),
    "the chain's end and 15": ([*HONEST[:4], END[0], b"\x0f", *HONEST[6:]], SUM),
    "no checksum": (HONEST[4:], DEPTH),
    "no message": (HONEST[:4], EQUAL),
    "one item short": (HONEST[1:], DEPTH),
    "one item more below": ([b"", *HONEST], "Stack size must be exactly one"),
    "one item more on top": ([*HONEST, b""], EQUAL),
    "nothing": ([], DEPTH),
}


@pytest.mark.parametrize("first", [True, False])
def test_no_attack_passes_a_block(stage: Stage, first: bool) -> None:
    code = verify_message(PAYOUT.public, first=first, keep=()) + TRUE
    coin = stage.fund(code)
    for name, (items, reason) in ATTACKS.items():
        assert not holds(code, items), name
        with pytest.raises(ConsensusError) as caught:
            stage.chain.mine(txs=[spend(code, items, coin)])
        assert reason in str(caught.value), name
        with pytest.raises(SignatureError):
            read_message(PAYOUT.public, items)
    stage.chain.mine(txs=[spend(code, HONEST, coin)])
    assert stage.chain.utxo(coin.outpoint) is None


@pytest.mark.parametrize("digit", [16, 17, 18, 500])
def test_a_digit_never_points_below_its_chain(stage: Stage, digit: int) -> None:
    """The chain's end lies where an unbounded digit would pick it: the pair itself refuses."""
    code = verify_message(PAYOUT.public, first=False, keep=())
    code += script(*[Op.DROP] * (digit - 16)) + TRUE
    planted = [END[4]] * (digit - 16)
    items = [*planted, HONEST[0], number_bytes(digit), *HONEST[2:]]
    coin = stage.fund(code)
    with pytest.raises(ConsensusError, match=EQUAL + " operation"):
        stage.chain.mine(txs=[spend(code, items, coin)])
    assert holds(code, [*planted, *HONEST])


@pytest.mark.parametrize(
    ("chain", "item"),
    [(0, b"\x80"), (0, b"\0"), (0, b"\0\0\0\x80"), (1, b"\x05\0"), (3, b"\x0f\0\0\0")],
)
def test_digits_that_are_not_minimal_are_left_minimal(chain: int, item: bytes) -> None:
    """-0 and leading zeros are consensus-valid: what reads the chain must take them too."""
    items = with_digit(chain, item)
    assert holds(verify_message(PAYOUT.public, first=True) + expect(MESSAGE), items)
    digits, signature = read_message(PAYOUT.public, items)
    assert (digits, signature) == (MESSAGE, ELEMENTS)
    assert list(message_items(digits, signature)) == HONEST


def mutated(data: st.DataObject) -> list[bytes]:
    """Witness items with a few things changed, many of them without consequence."""
    items = list(HONEST)
    for _ in range(data.draw(st.integers(1, 3))):
        n = data.draw(st.integers(0, len(items) - 1))
        match data.draw(st.sampled_from(["number", "encoding", "hash", "copy", "swap", "bytes"])):
            case "number":
                items[n] = number_bytes(data.draw(st.integers(-3, 20)))
            case "encoding" if len(items[n]) <= 4:
                zeros = bytes(data.draw(st.integers(0, 4)))
                sign = b"\x80" if parse_number(items[n]) == 0 else b""
                items[n] = items[n] + zeros + sign
            case "hash":
                items[n] = hash160(items[n])
            case "copy":
                items[n] = items[data.draw(st.integers(0, len(items) - 1))]
            case "swap":
                items[n], items[n - 2] = items[n - 2], items[n]
            case "bytes":
                items[n] = data.draw(st.binary(max_size=22))
    return items


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_python_reads_exactly_what_script_takes(data: st.DataObject) -> None:
    items = mutated(data)
    accepted = holds(verify_message(PAYOUT.public, first=True, keep=()) + TRUE, items)
    try:
        digits, signature = read_message(PAYOUT.public, items)
    except SignatureError:
        assert not accepted
    else:
        assert accepted
        assert (digits, signature) == (MESSAGE, ELEMENTS)


@pytest.mark.parametrize("size", [0, 19, 21, 80, 520])
def test_a_signers_first_showing_has_elements_of_20_bytes(size: int) -> None:
    """A signer may start its chain from anything; ``first`` keeps that out of later witnesses."""
    end = start = b"\x77" * size
    for _ in range(TOP):
        end = hash160(end)
    key = OneTimePublicKey(4, (end, *END[1:]))
    message = (0, 5, 10, 15)
    items = message_items(message, (start, *ELEMENTS[1:]))
    assert not holds(verify_message(key, first=True, keep=()) + TRUE, items)
    assert holds(verify_message(key, first=False, keep=()) + TRUE, items)
    constant = constant_items(key, (start, *ELEMENTS[1:]))
    assert not holds(verify_constant(key, message, first=True) + TRUE, constant)
    assert holds(verify_constant(key, message, first=False) + TRUE, constant)
    with pytest.raises(SignatureError, match="20"):
        read_message(key, items)


# A sweep as the contract has it: the payout's bit and the owner's key


def test_a_bit_is_swept_with_the_payout_and_the_owners_signature(stage: Stage) -> None:
    owner, thief = SecretKey(b"\x66" * 32), SecretKey(b"\x67" * 32)
    code = verify_bit(PAYOUT.public, 5, True, first=False) + single_key(owner.public)
    assert number_digits(0x05AF, 4) == MESSAGE
    coin = stage.fund(code)

    def swept(key: SecretKey, message: Sequence[bytes]) -> CTransaction:
        unsigned, leaf = spend(code, [], coin), TapLeaf(code)
        signature = sign_input(unsigned, 0, [coin.output], key, AUX, leaf=LeafSpend(leaf.hash))
        return spend(code, [signature, *message], coin)

    zero = OneTimeKey(SEED, LABEL).sign((0, 5, 8, 15), {})
    refused: list[tuple[CTransaction, str]] = [
        (swept(thief, HONEST), "Invalid Schnorr signature"),
        (swept(owner, message_items((0, 5, 8, 15), zero)), "OP_VERIFY operation"),
        (swept(owner, ATTACKS["a larger digit with its element"][0]), SUM),
        (spend(code, HONEST, coin), DEPTH),
    ]
    for tx, reason in refused:
        with pytest.raises(ConsensusError) as caught:
            stage.chain.mine(txs=[tx])
        assert reason in str(caught.value)
    sweep = swept(owner, HONEST)
    assert stage.chain.check(sweep).accepted
    stage.chain.broadcast(sweep)
    stage.chain.mine()
    assert stage.chain.utxo(coin.outpoint) is None


# Limits and sizes


def test_the_stack_bound_is_exact(stage: Stage) -> None:
    key = key_for(1)
    message = message_items((7,), key.sign((7,), {}))

    def leaf(extra: int) -> tuple[bytes, list[bytes]]:
        code = verify_message(key.public, first=True, keep=())
        return code + script(*[Op.DROP] * extra) + TRUE, [*[b""] * extra, *message]

    most = MAX_STACK_ITEMS - WORKING_ITEMS - len(message)
    require_stack(most + len(message))
    assert holds(*leaf(most))
    with pytest.raises(ScriptError, match="split the message"):
        require_stack(most + 1 + len(message))
    code, items = leaf(most + 1)
    with pytest.raises(ConsensusError, match="Stack size limit exceeded"):
        stage.chain.mine(txs=[spend(code, items, stage.fund(code))])


def test_the_longest_message_of_one_leaf() -> None:
    key = key_for(487)
    message = tuple(n % 16 for n in range(487))
    items = message_items(message, key.sign(message, {}))
    require_stack(len(items))
    with pytest.raises(ScriptError):
        require_stack(2 * len(key_for(488).public.ends))
    assert holds(verify_message(key.public, first=True) + expect(message), items)


@pytest.mark.parametrize(
    ("digits", "chains", "first", "again", "witness"),
    [
        (1, 2, 148, 140, 46),
        (4, 6, 452, 428, 138),
        (8, 10, 748, 708, 230),
        (40, 43, 3_198, 3_026, 989),
        (64, 67, 4_974, 4_706, 1_541),
        (320, 324, 23_999, 22_703, 7_452),
    ],
)
def test_sizes_of_the_documentation(
    digits: int, chains: int, first: int, again: int, witness: int
) -> None:
    public = key_for(digits).public
    assert len(verify_message(public, first=True)) == first
    assert len(verify_message(public, first=False)) == again
    assert len(public.ends) == chains
    assert chains * (1 + 20 + 1 + 1) == witness
    message = (1,) * digits
    items = message_items(message, key_for(digits).sign(message, {}))
    assert witness - chains <= sum(1 + len(item) for item in items) <= witness
    if digits >= 40:
        units_a_bit = (again + witness) / (4 * digits)
        assert round(units_a_bit, 1) == {40: 25.1, 64: 24.4, 320: 23.6}[digits]


def test_sizes_of_a_constant_and_of_a_payout_bit() -> None:
    low, high = (1 + 20 + 1) * 6, (1 + 20 + 1 + TOP) * 6
    for message in ((0, 0, 0, 0), MESSAGE, (TOP,) * 4):
        again = len(verify_constant(PAYOUT.public, message, first=False))
        assert low <= again <= high
        assert len(verify_constant(PAYOUT.public, message, first=True)) == again + 4 * 6
    sizes = [len(verify_bit(PAYOUT.public, bit, True, first=False)) for bit in range(4)]
    assert sizes == [452, 446, 438, 428]


def test_the_weight_of_a_spend_is_its_script_and_items() -> None:
    """Nothing hides elsewhere: two spends differ in weight by script and witness alone."""
    code = verify_message(PAYOUT.public, first=False, keep=()) + TRUE
    with_message, bare = spend(code, HONEST), spend(TRUE, [])
    grown = len(serialize(with_message)) - len(serialize(bare))
    lengths = 2  # of a script above 252 bytes
    assert grown == len(code) - len(TRUE) + sum(1 + len(item) for item in HONEST) + lengths


def test_refusals() -> None:
    wrongs: list[Callable[[], object]] = [
        lambda: verify_message(PAYOUT.public, first=True, keep=(4,)),
        lambda: verify_message(PAYOUT.public, first=True, keep=(-1,)),
        lambda: verify_constant(PAYOUT.public, (1, 2, 3), first=True),
        lambda: verify_bit(PAYOUT.public, 16, True, first=True),
        lambda: require_bit(4, True),
        lambda: message_items((1, 2, 3), ELEMENTS),
        lambda: parse_number(bytes(5)),
    ]
    for wrong in wrongs:
        with pytest.raises(ScriptError):
            wrong()


@settings(max_examples=50)
@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_script_numbers_are_read_back(number: int) -> None:
    assert parse_number(number_bytes(number)) == number
    assert parse_number(b"\x80") == parse_number(b"\0\0\0\x80") == 0
    assert parse_number(b"\x05\x80") == -5
