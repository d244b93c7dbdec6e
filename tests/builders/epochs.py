"""Configurations that follow each other, American contracts, and the signatures that both need."""

from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.exercise import ExerciseNotice, notice_message
from protocol.oracle.report import Grade, Report
from protocol.oracle.rotation import Rotation, RotationCertificate
from tests.builders.oracles import AUX, CONFIG, FEED_ID, KEYS, PRICE, ROUND, T0, make_config

NEW_ROUND = ROUND + 10
"""The round of ``ROTATION``."""
NEW_KEYS = (*KEYS[:2], KEYS[4])
"""Oracle 2 has lost its key and has a new one."""
ROSTER = bytes([7]) * 32
NEXT = make_config(epoch=2, oracles=tuple(key.public for key in NEW_KEYS))
HOLDER = SecretKey(b"\x11" * 32)


def signed(
    rotation: Rotation, signers: tuple[int, ...] = (0, 1), keys: tuple[SecretKey, ...] = KEYS
) -> RotationCertificate:
    return RotationCertificate(
        rotation, tuple((i, keys[i].sign(rotation.hash, AUX)) for i in signers)
    )


def rotation(
    old: OracleConfig = CONFIG, round_id: int = NEW_ROUND, new: OracleConfig = NEXT
) -> Rotation:
    return Rotation(old.digest, ROSTER, round_id, new)


ROTATION = signed(rotation())
EPOCHS = Epochs(CONFIG, (ROTATION,))


def certificate(
    config: OracleConfig = CONFIG,
    round_id: int = ROUND,
    previous: bytes = bytes(32),
    keys: tuple[SecretKey, ...] = KEYS,
    signers: tuple[int, ...] = (0, 1),
    price: int = PRICE,
) -> Certificate:
    """A FULL certificate, well formed and signed by these keys."""
    report = Report(
        config_digest=config.digest,
        feed_id=FEED_ID,
        round=round_id,
        price_e8=price,
        conf_e8=1_000_000,
        grade=Grade.FULL,
        observers=(1 << len(config.oracles)) - 1,
        time=T0 + (round_id - ROUND) * 1000,
        observations_root=bytes(32),
        prev_report_hash=previous,
    )
    return Certificate(report, tuple((i, keys[i].sign(report.hash, AUX)) for i in signers))


def history(rounds: dict[int, int], epochs: Epochs = EPOCHS) -> list[Certificate]:
    """Linked certificates of these rounds (counted from ROUND) and prices, each by its epoch."""
    chain: list[Certificate] = []
    for offset, price in rounds.items():
        config = epochs.at(ROUND + offset)
        keys = NEW_KEYS if config == NEXT else KEYS
        previous = chain[-1].report.hash if chain else bytes(32)
        chain.append(certificate(config, ROUND + offset, previous, keys, price=price))
    return chain


def preimage(expiry_round: int, holder: SecretKey = HOLDER, rest: bytes = b"strike") -> bytes:
    """Of an American contract's id."""
    return b"TRM2" + holder.public + expiry_round.to_bytes(8) + rest


def notice(
    contract: bytes, exercise_round: int, key: SecretKey = HOLDER, aux: bytes = AUX
) -> ExerciseNotice:
    contract_id = tagged_hash("btcfi/contract/v1", contract)
    return ExerciseNotice(
        contract, exercise_round, key.sign(notice_message(contract_id, exercise_round), aux)
    )
