"""docs/spec/vectors: what this implementation computes, and what other libraries make of it."""

import json
import re
from functools import cache
from hashlib import sha256
from itertools import accumulate
from typing import Any

import pytest
from bitcoin.core import CTransaction, Hash160
from blake3 import blake3
from coincurve import PublicKeyXOnly
from unicorn import UC_ARCH_RISCV, UC_MODE_RISCV32, Uc
from unicorn.riscv_const import UC_RISCV_REG_PC, UC_RISCV_REG_X0

from protocol.dispute.leaves.template import Guard
from tests.builders.leaves import public_keys
from tests.spec import opened
from tests.spec.vectors import COMMAND, FOLDER, LAYERS, text

MAX_BYTES = 1_000_000
PAGE = 0x1000
WORD_HINTS = 16 * 8 + 4 * 40
"""Of a leaf WORD at W = 20."""
SENTINELS = ("fffffff1", "fffffff5")


@cache
def known(layer: str) -> dict[str, Any]:
    """What the file says."""
    return json.loads((FOLDER / f"{layer}.json").read_text())


def tagged(tag: str, data: bytes) -> bytes:
    digest = sha256(tag.encode()).digest()
    return sha256(digest + digest + data).digest()


@pytest.mark.parametrize("layer", list(LAYERS))
def test_the_files_are_what_is_computed(layer: str) -> None:
    written = (FOLDER / f"{layer}.json").read_text()
    same = written == text(LAYERS[layer]())
    assert same, f"{layer}.json is of another version: run `{COMMAND}` and look at the difference"


def test_the_files_are_small_and_name_their_page() -> None:
    files = sorted(FOLDER.iterdir())
    assert {file.stem for file in files} == set(LAYERS)
    assert sum(file.stat().st_size for file in files) <= MAX_BYTES
    for layer in LAYERS:
        assert (FOLDER.parents[2] / known(layer)["about"]).is_file()


# Machine and commitment


@pytest.mark.parametrize("step", known("machine")["steps"], ids=lambda step: step["asm"])
def test_steps_on_unicorn(step: dict[str, Any]) -> None:
    """Each step that ends in no sentinel, on a machine that is not ours."""
    waddr, wval, next_pc = (int(value, 16) for value in step["record"])
    if step["record"][2] in SENTINELS:
        return
    machine, pc = Uc(UC_ARCH_RISCV, UC_MODE_RISCV32), int(step["pc"], 16)
    machine.mem_map(pc & -PAGE, PAGE)
    machine.mem_write(pc, int(step["opcode"], 16).to_bytes(4, "little"))
    reads = [(int(a, 16), int(v, 16)) for a, v in step["reads"] if a != "00000000"]
    for address, value in reads:
        if address >= 0xF000_0000:
            machine.reg_write(UC_RISCV_REG_X0 + (address - 0xF000_0000) // 4, value)
        else:
            machine.mem_map(address & -PAGE, PAGE)
            machine.mem_write(address, value.to_bytes(4, "little"))
    if 0x1000 <= waddr < 0xF000_0000 and waddr not in dict(reads):
        machine.mem_map(waddr & -PAGE, PAGE)
    machine.emu_start(pc, next_pc, count=1)
    assert machine.reg_read(UC_RISCV_REG_PC) == next_pc
    if waddr == 0xFFFF_FFFF:
        assert wval == 0
    elif waddr > 0xF000_0000:
        assert machine.reg_read(UC_RISCV_REG_X0 + (waddr - 0xF000_0000) // 4) == wval
    else:
        assert int.from_bytes(machine.mem_read(waddr, 4), "little") == wval


def naive_root(records: bytes, log4_steps: int, width: int) -> bytes:
    """The root as docs/spec/commitment.md says it, level by level."""
    sentinel = records[-12:]
    tail = b"\xff" * 4 + bytes(4) + sentinel[8:]
    blocks, padding = -(-len(records) // 48), blake3(tail * 4).digest(width)
    padded = records + tail * (4 * blocks - len(records) // 12)
    nodes = [blake3(padded[48 * n : 48 * n + 48]).digest(width) for n in range(blocks)]
    for _ in range(2 * (log4_steps - 1)):
        nodes += [padding] * (len(nodes) % 2)
        nodes = [blake3(a + b).digest(width) for a, b in zip(nodes[::2], nodes[1::2], strict=True)]
        padding = blake3(padding * 2).digest(width)
    assert len(nodes) == 1
    return nodes[0]


@pytest.mark.parametrize("root", known("commitment")["roots"], ids=lambda root: root["program"])
def test_roots_without_our_tree(root: dict[str, Any]) -> None:
    programs = {one["name"]: one for one in known("machine")["programs"]}
    records = bytes.fromhex(programs[root["program"]]["records"])
    assert naive_root(records, root["log4_steps"], root["width"]).hex() == root["root"]


def test_the_opening_leads_to_its_root() -> None:
    opening = known("commitment")["opening"]
    node = blake3(bytes.fromhex(opening["block"])).digest(20)
    for level, sibling in enumerate(map(bytes.fromhex, opening["siblings"])):
        right = opening["step"] // 4 >> level & 1
        node = blake3(sibling + node if right else node + sibling).digest(20)
    assert node.hex() == opening["root"]


# Opened inputs


def page_nodes(size: int, width: int) -> list[list[bytes]]:
    """Each page's nodes level by level, one behind the other, as docs/spec/input.md says it."""
    data = bytes((7 * n + n // 256) % 256 for n in range(size))
    region = size.to_bytes(4, "little") + data
    region += bytes(-len(region) % 1024)
    pages = []
    for page in range(0, len(region), 1024):
        nodes = [blake3(region[at : at + 64]).digest(width) for at in range(page, page + 1024, 64)]
        for n in range(0, 30, 2):
            nodes.append(blake3(nodes[n] + nodes[n + 1]).digest(width))
        pages.append(nodes)
    return pages


@pytest.mark.parametrize("about", known("opened")["inputs"], ids=lambda one: f"{one['size']}")
def test_opened_inputs_without_our_tree(about: dict[str, Any]) -> None:
    roots = [nodes[-1] for nodes in page_nodes(about["size"], about["width"])]
    assert [root.hex() for root in roots] == about["roots"]
    data = bytes([about["width"]]) + b"".join(roots)
    assert tagged("btcfi/dispute/input/v1", data).hex() == about["digest"]


def test_the_opened_word_is_in_its_page() -> None:
    opening = known("opened")["opening"]
    words = [int(one, 16) for one in opening["block"]]
    at = int(opening["address"], 16) - 0x4000_0000
    assert words[at // 4 % 16] == int(opening["value"], 16)
    node = blake3(b"".join(one.to_bytes(4, "little") for one in words)).digest(20)
    for level, sibling in enumerate(map(bytes.fromhex, opening["siblings"])):
        right = at // 64 >> level & 1
        node = blake3(sibling + node if right else node + sibling).digest(20)
    assert node == page_nodes(opening["size"], 20)[at // 1024][-1]


# Terms and one-time signatures


def test_contract_ids_are_tagged_hashes() -> None:
    about = known("terms")
    for contract in about["contracts"]:
        data = bytes.fromhex(contract["terms"] + about["template_hash"])
        assert tagged("btcfi/contract/v1", data).hex() == contract["contract_id"]
        terms = bytes.fromhex(contract["terms"])
        assert terms[:4] == b"TRM2" and int.from_bytes(terms[44:46]) == len(terms)


def test_a_claim_is_what_its_prover_signs() -> None:
    for claim in known("terms")["claims"]:
        digits = claim["claim"]
        published = "".join(digits[start:end] for start, end in claim["spans"])
        signed = "".join(m for field, _, m in claim["messages"] if field != "root")
        assert signed == published and sum(claim["parts"]) == len(published)
        assert claim["end"] == "HALT"


@pytest.mark.parametrize("key", known("one_time")["keys"], ids=lambda key: key["field"])
def test_one_time_keys_from_their_seed(key: dict[str, Any]) -> None:
    label, seed = bytes.fromhex(key["label"]), bytes.fromhex(known("one_time")["seed"])
    secret = tagged("btcfi/winternitz/label/v1", seed + label)
    missing = sum(15 - digit for digit in key["digits"])
    count = len(key["signed"]) - len(key["digits"])
    checksum = [missing >> 4 * place & 15 for place in reversed(range(count))]
    assert key["signed"] == key["digits"] + checksum
    chains = zip(key["signed"], key["signature"], key["ends"], strict=True)
    for number, (digit, element, end) in enumerate(chains):
        start = tagged("btcfi/winternitz/chain/v1", secret + number.to_bytes(2))[:20]
        chain = list(accumulate(range(15), lambda at, _: Hash160(at), initial=start))
        assert [chain[digit].hex(), chain[15].hex()] == [element, end]


@pytest.mark.parametrize("party", known("one_time")["parties"], ids=lambda party: party["role"])
def test_the_keys_of_a_party_from_its_seed(party: dict[str, Any]) -> None:
    def public(seed: bytes, name: bytes) -> str:
        return PublicKeyXOnly.from_secret(tagged("btcfi/party/v1", seed + name)).format().hex()

    seed = bytes.fromhex(party["seed"])
    assert party["key"] == public(seed, b"key")
    assert party["prover_key"] == public(seed, b"prover")
    one_time = tagged("btcfi/party/v1", seed + b"one-time")
    tower = tagged("btcfi/one-time/answers/v1", one_time)
    assert party["tower_seed"] == tower.hex()
    assert party["challenger_key"] == public(tower, b"challenger")
    assert len(set(party["labels"])) == len(party["labels"])


# Graph and funding


def parsed(data: str) -> CTransaction:
    return CTransaction.deserialize(bytes.fromhex(data))


def test_the_graph_hangs_together() -> None:
    graph = known("graph")
    ids = {move["name"]: move["txid"] for move in graph["moves"]}
    scripts = {lock["output"]: lock["script"] for lock in graph["outputs"]}
    held: dict[tuple[str, int], int] = {}
    for move in graph["moves"]:
        if "tx" not in move:
            assert move["name"].startswith("writer:")
            continue
        tx = parsed(move["tx"])
        assert tx.GetTxid()[::-1].hex() == move["txid"]
        assert tx.nVersion == 3 and move["vsize"] <= 10_000
        spends = [spend.prevout.hash[::-1].hex() for spend in tx.vin]
        parent = ids.get(move["spends"], graph["fund"].partition(":")[0])
        assert spends == [parent] * len(spends)
        taken = [held.get((parent, spend.prevout.n), graph["fund_sats"]) for spend in tx.vin]
        assert sum(taken) - sum(out.nValue for out in tx.vout) == move["fee_sats"]
        assert move["fee_sats"] >= 2 * move["vsize"]
        assert tx.vout[-1].nValue == 240 and tx.vout[-1].scriptPubKey.hex() == "51024e73"
        for number, out in enumerate(tx.vout):
            held[move["txid"], number] = out.nValue
            expected = scripts.get(f"{move['name']} {number}", out.scriptPubKey.hex())
            assert out.scriptPubKey.hex() == expected


def root_of(leaves: list[bytes]) -> bytes:
    """Of a tree of least depth."""
    if len(leaves) == 1:
        return leaves[0]
    half = (len(leaves) + 1) // 2
    return tagged("TapBranch", b"".join(sorted((root_of(leaves[:half]), root_of(leaves[half:])))))


def test_outputs_are_the_trees_of_their_leaves() -> None:
    """The first leaf lies beside the tree of the others; FUND's output is balanced."""
    for lock in known("graph")["outputs"]:
        first, *others = (bytes.fromhex(leaf[1]) for leaf in lock["leaves"])
        beside = first
        if others:
            beside = tagged("TapBranch", b"".join(sorted((first, root_of(others)))))
        roots = {root_of([first, *others]), beside}
        assert bytes.fromhex(lock["merkle_root"]) in roots
        internal = bytes.fromhex(lock["internal_key"])
        point = PublicKeyXOnly(internal)
        point.tweak_add(tagged("TapTweak", internal + bytes.fromhex(lock["merkle_root"])))
        assert lock["script"] == "5120" + point.format().hex()


def test_close_is_one_bip340_signature() -> None:
    about = known("funding")
    close, output = about["close"], about["output"]
    point = PublicKeyXOnly(bytes.fromhex(output["aggregate_key"]))
    root = bytes.fromhex(output["merkle_root"])
    point.tweak_add(tagged("TapTweak", bytes.fromhex(output["aggregate_key"]) + root))
    assert point.format().hex() == output["output_key"]
    signed = parsed(close["signed"])
    (signature,) = signed.wit.vtxinwit[0].scriptWitness.stack
    assert PublicKeyXOnly(point.format()).verify(signature, bytes.fromhex(close["message"]))
    assert (
        signed.GetTxid()[::-1].hex() == close["txid"] == parsed(close["tx"]).GetTxid()[::-1].hex()
    )
    assert parsed(close["signed_by_leaf"]).GetTxid() == signed.GetTxid()
    fund = parsed(about["fund"]["tx"])
    assert fund.GetTxid()[::-1].hex() == about["fund"]["txid"]
    assert fund.vout[0].scriptPubKey.hex() == "5120" + output["output_key"]


# Leaves and game


def test_leaves_are_named_once_and_in_every_output_that_wants_them() -> None:
    narrow, wide = known("leaves")["templates"], known("leaves_w32")["templates"]
    names = [template[0] for template in narrow]
    assert len(set(names)) == len(names) > 500
    assert {template[0] for template in wide} <= set(names) | {
        f"ASSERT {turn} path" for turn in range(1, 12)
    } | {f"REFUTE {turn} node {number}" for turn in range(1, 12) for number in range(8)}
    used = {leaf[0] for lock in known("graph")["outputs"] for leaf in lock["leaves"]}
    for name in names:
        ends = name.replace(" ", "_")
        kinds = {ends, f"VERDICT_{ends}", f"EXECUTE_{ends}", ends.replace("DIGIT", "PICK")}
        kinds |= {"REVEAL_12" if name == "REVEAL records" else ends}
        assert kinds & used, name


def test_the_dispute_page_has_the_sizes_of_the_leaves() -> None:
    """The largest of each kind, as docs/dispute.md prints them for W = 20."""
    largest: dict[str, int] = {}
    for lock in known("graph")["outputs"]:
        for name, _, size, *_ in lock["leaves"]:
            if name.startswith(("VERDICT", "EXECUTE", "ASSERT", "REFUTE")):
                kind = name.removeprefix("VERDICT_").partition("_")[0]
                kind = "OPEN near" if "OPEN_near" in name else kind
                largest[kind] = max(largest.get(kind, 0), size)
    rows = re.findall(
        r"^\|[^|]+\| ([A-Z-]+(?: near)?)\b[^|]*\|[^|]+\| ([0-9,]+)(?: to ([0-9,]+))?",
        (FOLDER.parents[1] / "dispute.md").read_text(),
        re.MULTILINE,
    )
    told = {kind: int((most or only).replace(",", "")) for kind, only, most in rows}
    assert len(told) == 16
    alone = Guard((bytes(32),), 1)
    leaves = [t for t in opened.templates() if t.hints == WORD_HINTS]
    largest["WORD"] = max(len(leaf.script(alone, public_keys(leaf))) for leaf in leaves)
    for kind, size in told.items():
        assert largest[kind] == size, kind


def test_every_game_ends_as_it_should() -> None:
    games = {game["name"]: game for game in known("game")["games"]}
    faults = {name: game["fault"] for name, game in games.items()}
    assert faults["an honest claim, challenged"] == "NONE"
    assert games["an honest claim, challenged"]["settle"] == "SETTLE_execute"
    assert (faults["a silent prover"], faults["a false claim"]) == ("TIMEOUT", "NOT-HALT")
    assert (faults["wrong_opcode"], faults["future"]) == ("ROM", "FUTURE")
    assert faults["another root"] == "NODE"
    for game in games.values():
        prover_won = game["name"].startswith("an honest")
        assert game["winner"] == ("prover" if prover_won else "challenger")
        waits = [move[0] for move in game["moves"]]
        assert waits[0] == "INPUT" and "WINDOW" in waits
