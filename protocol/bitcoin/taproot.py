"""Taproot outputs (BIP341): leaves, trees, control blocks, output keys and key tweaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from coincurve import PublicKeyXOnly

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import check_x_only
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ScriptError

TAPSCRIPT = 0xC0
"""Leaf version of BIP342."""

NUMS_KEY = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""The point of BIP341 that nobody knows the secret key of: lift_x(SHA256(generator))."""

MAX_DEPTH = 128


@dataclass(frozen=True, slots=True, init=False)
class TapLeaf:
    """One script of a tree, kept in the parts that it was made of: leaves may share them."""

    parts: tuple[bytes, ...] = field(compare=False, repr=False)
    version: int
    hash: bytes
    """What signatures and branches commit to."""

    def __init__(self, *parts: bytes, version: int = TAPSCRIPT) -> None:
        """The script is ``parts``, joined. ScriptError for a version that BIP341 has not."""
        # 0x50 is the annex's first byte and could not be told from a control block.
        if not 0 <= version <= 0xFE or version % 2 or version == 0x50:
            raise ScriptError(f"no leaf version: 0x{version:02x} (even, not 0x50)")
        size = sum(map(len, parts))
        digest = tagged_hash("TapLeaf", bytes([version]), compact_size(size), *parts)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "hash", digest)

    @property
    def script(self) -> bytes:
        return b"".join(self.parts)

    @property
    def size(self) -> int:
        """The bytes of the script."""
        return sum(map(len, self.parts))


TapTree = TapLeaf | tuple["TapTree", "TapTree"]
"""A leaf, or a pair of trees."""


def compact_size(n: int) -> bytes:
    """Bitcoin's variable-length count."""
    if n < 0xFD:
        return bytes([n])
    if n <= 0xFFFF:
        return b"\xfd" + n.to_bytes(2, "little")
    if n <= 0xFFFFFFFF:
        return b"\xfe" + n.to_bytes(4, "little")
    return b"\xff" + n.to_bytes(8, "little")


def branch_hash(a: bytes, b: bytes) -> bytes:
    """The hash of a branch over two node hashes, in either order."""
    return tagged_hash("TapBranch", min(a, b) + max(a, b))


def balanced(leaves: Sequence[TapLeaf]) -> TapTree:
    """A tree of least depth over ``leaves``, in their order."""
    if not leaves:
        raise ScriptError("a taptree needs at least one leaf")
    if len(leaves) == 1:
        return leaves[0]
    half = (len(leaves) + 1) // 2
    return balanced(leaves[:half]), balanced(leaves[half:])


@dataclass(frozen=True, slots=True)
class TaprootOutput:
    """An internal key tweaked by a tree (or by nothing), with what a spender must show."""

    internal_key: bytes
    tree: TapTree | None
    merkle_root: bytes | None
    output_key: bytes
    parity: int
    paths: Mapping[TapLeaf, bytes]
    """Each leaf's Merkle path (32 bytes a level, leaf upwards), in the tree's order."""

    @property
    def script_pubkey(self) -> bytes:
        return p2tr(self.output_key)

    def control_block(self, leaf: TapLeaf) -> bytes:
        """The last item of a script path spend's witness; ScriptError if ``leaf`` is not here."""
        path = self.paths.get(leaf)
        if path is None:
            raise ScriptError("the output has no such leaf")
        return bytes([leaf.version | self.parity]) + self.internal_key + path


def taproot_output(internal_key: bytes, tree: TapTree | None = None) -> TaprootOutput:
    """The output that ``internal_key`` (x-only) and ``tree`` make.

    Raises ScriptError if the key is no curve point or the tree is deeper than 128.
    """
    root, paths = (None, {}) if tree is None else _walk(tree)
    if any(len(path) > 32 * MAX_DEPTH for path in paths.values()):
        raise ScriptError(f"a taptree is at most {MAX_DEPTH} levels deep")
    output_key, parity = tweak_public(internal_key, root)
    return TaprootOutput(internal_key, tree, root, output_key, parity, MappingProxyType(paths))


def tap_tweak(internal_key: bytes, merkle_root: bytes | None) -> bytes:
    """The 32-byte tweak of ``internal_key``; no root commits to no script path (BIP86)."""
    return tagged_hash(
        "TapTweak", check_x_only(internal_key, "internal key") + (merkle_root or b"")
    )


def tweak_public(internal_key: bytes, merkle_root: bytes | None = None) -> tuple[bytes, int]:
    """Output key (x-only) and its parity bit."""
    tweak = tap_tweak(internal_key, merkle_root)
    try:
        point = PublicKeyXOnly(internal_key)
        point.tweak_add(tweak)
    except ValueError as error:
        raise ScriptError("the internal key is not the x coordinate of a curve point") from error
    return bytes(point.format()), int(point.parity)


def tweak_key(key: SecretKey, merkle_root: bytes | None = None) -> SecretKey:
    """The key that signs key path spends of the output that ``key`` is the internal key of."""
    return key.tweaked(tap_tweak(key.public, merkle_root))


def p2tr(output_key: bytes) -> bytes:
    """The scriptPubKey of an output key (witness version 1)."""
    return bytes([Op.TRUE, 32]) + check_x_only(output_key, "output key")


def key_path_script(internal_key: bytes) -> bytes:
    """The scriptPubKey of a single key without scripts (BIP86)."""
    return p2tr(tweak_public(internal_key)[0])


def _walk(tree: TapTree) -> tuple[bytes, dict[TapLeaf, bytes]]:
    if isinstance(tree, TapLeaf):
        return tree.hash, {tree: b""}
    (left, left_paths), (right, right_paths) = _walk(tree[0]), _walk(tree[1])
    paths = {leaf: path + right for leaf, path in left_paths.items()}
    for leaf, path in right_paths.items():
        paths.setdefault(leaf, path + left)
    return branch_hash(left, right), paths
