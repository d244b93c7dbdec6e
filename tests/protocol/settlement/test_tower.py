"""What a watchtower's seed gives: answers to the other side's claim, as the party would sign them,
and nothing that claims, closes or refunds."""

import pytest

from protocol.crypto.winternitz import Digits, Label
from protocol.errors import EncodingError, GuardError, SignatureError, TermsError
from protocol.settlement.keys import PartyKeys, TowerKeys
from protocol.settlement.messages import Broadcast, Bump
from protocol.settlement.onetime import labels_of
from protocol.settlement.party import Party
from protocol.settlement.policy import Close
from protocol.settlement.terms import Role
from protocol.settlement.tower import TOWER, tower_policy
from tests.builders import party_world
from tests.builders.contracts import KEYS, contract_terms
from tests.builders.party_world import Guard, World
from tests.protocol.settlement.test_party import HOLDER_CLAIMS, REFUND, funded

TERMS = contract_terms()


@pytest.fixture(scope="module", params=Role, ids=lambda role: role.value)
def role(request: pytest.FixtureRequest) -> Role:
    return request.param


@pytest.fixture(scope="module")
def party(role: Role) -> PartyKeys:
    return KEYS[role]


@pytest.fixture(scope="module")
def tower(role: Role, party: PartyKeys) -> TowerKeys:
    return TowerKeys(party.tower_seed, TERMS, role, party.one_time(TERMS, role).public)


def digits(label: Label) -> Digits:
    return tuple(n % 16 for n in range(label.digits))


def test_answers_are_signed_as_the_party_signs_them(role, party, tower) -> None:
    answers = [each for each in labels_of(TERMS, role) if each.direction == role.other.value]
    assert {each.field for each in answers} >= {"digit"}
    said = {label: digits(label) for label in answers}
    mine, its = party.one_time(TERMS, role), tower.one_time(TERMS, role)
    assert its.sign(said, {}) == mine.sign(said, {})
    assert its.public == mine.public
    assert tower.challenger_key.public == party.challenger_key.public
    assert tower.signer(party.challenger_key.public) is tower.challenger_key
    with pytest.raises(GuardError):
        its.sign(said, {answers[0]: (1,) * answers[0].digits})


def test_nothing_of_its_own_claim_is_signed(role, tower) -> None:
    own = [label for label in labels_of(TERMS, role) if label.direction == role.value]
    assert {label.field for label in own} >= {"input", "root", "payout", "node_0", "head"}
    for label in own:
        with pytest.raises(EncodingError, match="these keys do not sign"):
            tower.one_time(TERMS, role).sign({label: digits(label)}, {})


@pytest.mark.parametrize("name", ["key", "prover_key"])
def test_other_keys_are_elsewhere(role, party, tower, name: str) -> None:
    key = getattr(tower, name)
    assert key.public == getattr(party, name).public
    for use in (
        lambda: key.sign(bytes(32), bytes(32)),
        lambda: key.tweaked(bytes(32)),
        lambda: tower.signer(key.public).keypair(),
    ):
        with pytest.raises(SignatureError, match="only the party signs this"):
            use()


def test_no_other_seed_fits(role, party) -> None:
    public = party.one_time(TERMS, role).public
    with pytest.raises(TermsError, match="not the watchtower's seed"):
        TowerKeys(bytes(32), TERMS, role, public)
    with pytest.raises(TermsError, match=f"of the {role.other.value}"):
        TowerKeys(party.tower_seed, TERMS, role.other, public)
    strange = PartyKeys(b"\x33" * 32).one_time(TERMS, role).public
    with pytest.raises(SignatureError, match="not that of these one-time keys"):
        TowerKeys(party.tower_seed, TERMS, role, strange)


def test_it_neither_claims_nor_closes(role) -> None:
    policy = tower_policy(TERMS, role, 3)
    assert (policy.close, policy.claims, policy.depth) == (Close.NEVER, False, 3)
    assert policy.script == TERMS.party(role).script


def sent_by_tower(world: World, role: Role) -> list[str]:
    """What a watchtower of ``role`` broadcasts that is started now."""
    keys, terms = party_world.KEYS[role], world.terms
    public = keys.one_time(terms, role).public
    records = world.sides[role].records
    party = Party(
        role,
        TowerKeys(keys.tower_seed, terms, role, public),
        tower_policy(terms, role, 3),
        Guard(),
        world.entropy,
        [kept for kept in records if kept[1 : 1 + kept[0]] not in (b"known", b"proof")],
        strategy=TOWER,
        judge=world.judge,
    )
    effects = party.open(world.chain, world.now_ms)
    return [effect.name for effect in effects if isinstance(effect, Broadcast | Bump)]


def test_it_leaves_the_sweep_of_its_partys_own_claim_to_the_party(short_traces) -> None:
    world = funded(policies=HOLDER_CLAIMS)
    world.settle_at = world.chain.height
    world.until(lambda: "holder:SETTLE" in world.path())
    world.holder.alive = False
    world.chain.mine(world.terms.chain.sweep_delay)
    assert sent_by_tower(world, Role.HOLDER) == []
    assert sent_by_tower(world, Role.WRITER) == ["holder:SWEEP_WRITER"]


def test_it_broadcasts_what_both_sides_have_signed(short_traces) -> None:
    world = funded(policies=REFUND)
    world.chain.mine(world.terms.chain.refund_height - world.chain.height)
    assert sent_by_tower(world, Role.HOLDER) == ["REFUND"]
