"""Addresses and WIF keys: Base58Check, bech32 (BIP173) and bech32m (BIP350), strictly.

python-bitcoinlib encodes witness version 1 with the old checksum and cannot read it back;
nothing of it is used here.
"""

from dataclasses import dataclass
from typing import Final

from protocol.bitcoin.opcodes import Op
from protocol.crypto.hashes import hash256
from protocol.crypto.keys import CURVE_ORDER
from protocol.errors import EncodingError, ScriptError


@dataclass(frozen=True, slots=True)
class Network:
    """The prefixes of one chain."""

    name: str
    hrp: str
    p2pkh: int
    p2sh: int
    wif: int


MAINNET: Final = Network("mainnet", "bc", 0, 5, 128)
TESTNET: Final = Network("testnet", "tb", 111, 196, 239)
SIGNET: Final = Network("signet", "tb", 111, 196, 239)
REGTEST: Final = Network("regtest", "bcrt", 111, 196, 239)

_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_VALUE = {character: value for value, character in enumerate(_BECH32)}
_BECH32_CONST = 1
_BECH32M_CONST = 0x2BC830A3
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUE = {character: value for value, character in enumerate(_BASE58)}


def encode_address(script_pubkey: bytes, network: Network) -> str:
    """The address of an output script; ScriptError if scripts of its shape have none."""
    if _is_p2pkh(script_pubkey):
        return encode_base58check(bytes([network.p2pkh]) + script_pubkey[3:23])
    if _is_p2sh(script_pubkey):
        return encode_base58check(bytes([network.p2sh]) + script_pubkey[2:22])
    program = witness_program(script_pubkey)
    if program is None or not _valid_program(*program):
        raise ScriptError("only P2PKH, P2SH and witness outputs have an address")
    version, data = program
    words = [version, *_regroup(data, 8, 5, pad=True)]
    return _encode_bech32(network.hrp, words, _BECH32M_CONST if version else _BECH32_CONST)


def decode_address(text: str, network: Network) -> bytes:
    """The output script that ``text`` stands for on ``network``; EncodingError otherwise."""
    if text.lower().startswith(network.hrp + "1"):
        return _decode_segwit(text, network)
    payload = decode_base58check(text)
    if len(payload) == 21 and payload[0] == network.p2pkh:
        return bytes([Op.DUP, Op.HASH160, 20]) + payload[1:] + _P2PKH_END
    if len(payload) == 21 and payload[0] == network.p2sh:
        return bytes([Op.HASH160, 20]) + payload[1:] + bytes([Op.EQUAL])
    raise EncodingError(f"not an address of {network.name}: {text}")


def witness_program(script_pubkey: bytes) -> tuple[int, bytes] | None:
    """Version and program of a witness output (BIP141), None for any other script."""
    if not 4 <= len(script_pubkey) <= 42 or script_pubkey[1] + 2 != len(script_pubkey):
        return None
    opcode = script_pubkey[0]
    if opcode == Op.FALSE:
        return 0, script_pubkey[2:]
    if Op.TRUE <= opcode <= Op.N16:
        return opcode - Op.TRUE + 1, script_pubkey[2:]
    return None


def has_owner(script_pubkey: bytes) -> bool:
    """Whether nodes relay an output of this script and consensus lets only its owner spend it:
    P2PKH, P2SH, P2WPKH, P2WSH or Taproot.

    Other witness outputs have an address too, and are anybody's: versions from 2 on until a
    soft fork gives them a meaning, pay-to-anchor for ever.
    """
    program = witness_program(script_pubkey)
    if program is None:
        return _is_p2pkh(script_pubkey) or _is_p2sh(script_pubkey)
    version, data = program
    return (version, len(data)) in ((0, 20), (0, 32), (1, 32))


def encode_wif(secret: bytes, network: Network, *, compressed: bool = True) -> str:
    """A secret key (32 bytes) in wallet import format."""
    _check_secret(secret)
    return encode_base58check(bytes([network.wif]) + secret + b"\x01" * compressed)


def decode_wif(text: str, network: Network) -> tuple[bytes, bool]:
    """Secret key (32 bytes) and whether its public key is compressed; EncodingError otherwise.

    A secret must not be echoed: the messages do not quote ``text``.
    """
    payload = decode_base58check(text, secret=True)
    if payload[:1] != bytes([network.wif]):
        raise EncodingError(f"not a secret key of {network.name}")
    if len(payload) == 33:
        return _check_secret(payload[1:]), False
    if len(payload) == 34 and payload[33] == 1:
        return _check_secret(payload[1:33]), True
    raise EncodingError("a WIF key holds 32 bytes, and 0x01 if its public key is compressed")


def encode_base58check(payload: bytes) -> str:
    """Base58 of ``payload`` and the first 4 bytes of its double SHA-256."""
    data = payload + hash256(payload)[:4]
    number, digits = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def decode_base58check(text: str, *, secret: bool = False) -> bytes:
    """The payload, its checksum verified; EncodingError otherwise (quoting nothing if secret)."""
    shown = "the key" if secret else repr(text)
    number = 0
    if not text or len(text) > 128:
        raise EncodingError(f"not Base58Check: {shown}")
    for character in text:
        if character not in _BASE58_VALUE:
            raise EncodingError(f"not a Base58 character in {shown}")
        number = 58 * number + _BASE58_VALUE[character]
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)
    if len(data) < 5 or hash256(data[:-4])[:4] != data[-4:]:
        raise EncodingError(f"the checksum of {shown} is wrong: was a character mistyped?")
    return data[:-4]


_P2PKH_END = bytes([Op.EQUALVERIFY, Op.CHECKSIG])


def _is_p2pkh(code: bytes) -> bool:
    start = bytes([Op.DUP, Op.HASH160, 20])
    return len(code) == 25 and code[:3] == start and code[23:] == _P2PKH_END


def _is_p2sh(code: bytes) -> bool:
    return len(code) == 23 and code[:2] == bytes([Op.HASH160, 20]) and code[22] == Op.EQUAL


def _check_secret(secret: bytes) -> bytes:
    if len(secret) != 32 or not 0 < int.from_bytes(secret) < CURVE_ORDER:
        raise EncodingError("a secret key is 32 bytes between 1 and the curve order - 1")
    return secret


def _valid_program(version: int, program: bytes) -> bool:
    return 2 <= len(program) <= 40 and (version > 0 or len(program) in (20, 32))


def _decode_segwit(text: str, network: Network) -> bytes:
    words, constant = _decode_bech32(text, network.hrp)
    if not words or words[0] > 16:
        raise EncodingError(f"no witness version in {text}")
    version, program = words[0], bytes(_regroup(words[1:], 5, 8, pad=False))
    if not _valid_program(version, program):
        raise EncodingError(f"a version {version} program of {len(program)} bytes: {text}")
    if constant != (_BECH32M_CONST if version else _BECH32_CONST):
        raise EncodingError(f"the checksum of {text} is wrong for witness version {version}")
    return bytes([Op.TRUE + version - 1 if version else Op.FALSE, len(program)]) + program


def _encode_bech32(hrp: str, words: list[int], constant: int) -> str:
    polymod = _polymod([*_expand(hrp), *words, 0, 0, 0, 0, 0, 0]) ^ constant
    checksum = [(polymod >> 5 * (5 - i)) & 31 for i in range(6)]
    return hrp + "1" + "".join(_BECH32[word] for word in words + checksum)


def _decode_bech32(text: str, hrp: str) -> tuple[list[int], int]:
    """Data words without the checksum, and the constant that the checksum leaves."""
    if len(text) > 90 or (text != text.lower() and text != text.upper()):
        raise EncodingError(f"an address has at most 90 characters of one case: {text}")
    data = text.lower()[len(hrp) + 1 :]
    if len(data) < 6 or any(character not in _BECH32_VALUE for character in data):
        raise EncodingError(f"not a bech32 address: {text}")
    words = [_BECH32_VALUE[character] for character in data]
    constant = _polymod([*_expand(hrp), *words])
    if constant not in (_BECH32_CONST, _BECH32M_CONST):
        raise EncodingError(f"the checksum of {text} is wrong: was a character mistyped?")
    return words[:-6], constant


def _expand(hrp: str) -> list[int]:
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def _polymod(values: list[int]) -> int:
    """The BCH code of BIP173 over GF(32)."""
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i in range(5):
            checksum ^= generator[i] if (top >> i) & 1 else 0
    return checksum


def _regroup(data: bytes | list[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    """Bits of ``data`` in groups of another size; EncodingError if what remains is not zero."""
    accumulator, bits, out = 0, 0, []
    for value in data:
        accumulator = (accumulator << from_bits) | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            out.append((accumulator >> bits) & ((1 << to_bits) - 1))
    rest = accumulator & ((1 << bits) - 1)
    if pad and bits:
        out.append(rest << (to_bits - bits))
    elif not pad and (bits >= from_bits or rest):
        raise EncodingError("the padding of the address is not zero")
    return out
