"""What everybody builds of a batch: the same bytes, within the limits, refused where they cannot
be honoured."""

from dataclasses import replace

import pytest

from actors.pool_chain import PoolChain
from protocol.bitcoin.tx import outpoint, serialize, txid, txout
from protocol.crypto.keys import SecretKey
from protocol.errors import EncodingError, ScriptError, SignatureError, TermsError
from protocol.pool.batch import Deposit, Payment
from protocol.settlement.funding import Contribution
from protocol.settlement.move import MAX_VSIZE
from protocol.settlement.pool.advance import advance, seal_sats
from protocol.settlement.pool.batch import DUST_SATS, Batch, State
from protocol.settlement.pool.conviction import require_consents
from protocol.settlement.pool.graph import BatchGames, BatchGraph, game_terms
from protocol.settlement.pool.pledge import pledge_tx
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms
from tests.builders.pool_batches import ROOT, next_batch, small_batch

FAR = 100_000
NOWHERE = State(outpoint=outpoint(bytes(32), 1), root=ROOT, vault_sats=10_000_000)


def bundles(pool: PoolChain, vault: VaultTerms, batch: Batch) -> tuple[tuple[bytes, bytes], ...]:
    made = []
    for number, own in enumerate(game_terms(vault, batch, FAR)):
        parts = (("sequencer", SEQUENCER, True), (f"member {number + 1}", MEMBER, False))
        made.append(
            tuple(
                pool.keys[name].one_time_over(own.labels(role), proving=proving).public.encode()
                for name, role, proving in parts
            )
        )
    return tuple(made)


def holding(own: Contribution, sats: int) -> Contribution:
    """The same coin with other sats in it."""
    (coin,) = own.coins
    output = txout(sats, bytes(coin.output.scriptPubKey))
    return replace(own, coins=(replace(coin, output=output),))


def graph(pool: PoolChain, **terms: int) -> BatchGraph:
    vault = replace(pool.vault, **terms)
    batch = small_batch(NOWHERE, b"\x02" * 32)
    return BatchGraph.of(BatchGames(vault, batch, FAR, bundles(pool, vault, batch)), bytes(32))


@pytest.mark.parametrize("width, log4_steps", [(20, 5), (32, 15)])
def test_every_transaction_fits_version_3(pool, width, log4_steps) -> None:
    shape = {"width": width, "log4_steps": log4_steps, "deposit_window": 2_016}
    made = graph(pool, bond_sats=9_000_000, **shape)
    for game in made.games:
        for move in game.moves.values():
            assert move.tx.nVersion == 3
            assert move.widest_vsize <= MAX_VSIZE, move.name
            held = sum(int(out.nValue) for out in move.spent)
            assert held - sum(int(out.nValue) for out in move.tx.vout) == move.fee_sats
        assert game.game.course.clock_blocks <= made.about.vault.late_window
        names = [way.name for _, _, way in game.ways()]
        assert len(set(names)) == len(names)
    for one in made.advances:
        held = sum(int(out.nValue) for out in one.spent)
        assert held - sum(int(out.nValue) for out in one.tx.vout) == one.fee_sats > 0


def test_equal_arguments_give_equal_bytes(pool: PoolChain) -> None:
    one, two = graph(pool), graph(pool)
    for a, b in zip(one.games, two.games, strict=True):
        assert [serialize(m.tx) for m in a.moves.values()] == [
            serialize(m.tx) for m in b.moves.values()
        ]
    assert [serialize(a.tx) for a in one.advances] == [serialize(a.tx) for a in two.advances]


def test_games_share_no_key_and_no_output(pool: PoolChain) -> None:
    """Of one batch, and of another one of the same vault."""
    batch = small_batch(NOWHERE, b"\x02" * 32)
    other = replace(batch, new_root=b"\x03" * 32)
    ids = [own.id for b in (batch, other) for own in game_terms(pool.vault, b, FAR)]
    ids += [own.id for own in game_terms(pool.vault, batch, FAR + 1)]
    assert len(set(ids)) == 9
    made = graph(pool)
    ends = [
        end
        for game in made.games
        for bundle in game.game.one_time.values()
        for key in bundle.keys.values()
        for end in key.ends
    ]
    assert len(set(ends)) == len(ends)


def test_wrong_bundles_and_small_bonds_are_refused(pool: PoolChain) -> None:
    batch = small_batch(NOWHERE, b"\x02" * 32)
    right = bundles(pool, pool.vault, batch)
    with pytest.raises(TermsError, match="3 members play, 2"):
        BatchGames(pool.vault, batch, FAR, right[:2])
    with pytest.raises(EncodingError, match="539 bytes"):
        BatchGames(pool.vault, batch, FAR, ((right[0][0][:-1], right[0][1]), *right[1:]))
    with pytest.raises(SignatureError):
        BatchGames(pool.vault, batch, FAR, ((right[0][0], right[0][0][:120]), *right[1:]))
    poor = replace(pool.vault, bond_sats=500_000)
    with pytest.raises(TermsError, match="bond_sats 500000: a dispute costs up to"):
        BatchGames(poor, batch, FAR, bundles(pool, poor, batch))


def test_consents_are_for_every_place_where_the_member_can_win(pool: PoolChain) -> None:
    """After CHALLENGE, each PICK, and EXECUTE; TAKE is signed by both like any move."""
    batch = next_batch(pool)
    sequencer, members = pool.roles(batch)
    pool.pledge(batch, sequencer, members)
    game, player = sequencer.graph.games[0], members[0].player
    assert player is not None
    places = ["CHALLENGE", *(f"PICK_{turn}" for turn in (1, 2, 3)), "EXECUTE"]
    assert sorted(player.consents) == sorted(f"holder:{place}" for place in places)
    require_consents(game, player.consents)
    with pytest.raises(SignatureError, match="consent after"):
        require_consents(sequencer.graph.games[1], player.consents)


def test_a_batch_too_large_for_one_transaction_is_refused(pool: PoolChain) -> None:
    """And one that just fits is not."""

    def payments(count: int) -> tuple[Payment, ...]:
        return tuple(
            Payment(SecretKey((n + 1).to_bytes(32)).public, DUST_SATS) for n in range(count)
        )

    deposits = tuple(Deposit(bytes([n]) * 36, payments(1)[0].owner, 1_000) for n in range(60))
    fee = pool.purses["sequencer"].coins()
    assert advance(pool.vault, small_batch(NOWHERE, ROOT, (), payments(220)), fee)
    assert advance(pool.vault, small_batch(NOWHERE, ROOT, deposits), fee)
    wide = small_batch(NOWHERE, ROOT, deposits, payments(220))
    with pytest.raises(ScriptError, match="60 deposits and 220 payments takes"):
        advance(pool.vault, wide, fee)
    with pytest.raises(ScriptError, match="split it"):
        seal_sats(pool.vault, wide, game_terms(pool.vault, wide, FAR))


def test_a_fee_that_does_not_suffice_is_refused(pool: PoolChain) -> None:
    fee = pool.purses["sequencer"].coins()
    batch = small_batch(NOWHERE, b"\x02" * 32)
    for sats, outputs in ((5_000, 3), (1_100, 2)):
        assert len(advance(pool.vault, batch, holding(fee, sats)).tx.vout) == outputs
    with pytest.raises(TermsError, match="hold 500 sats"):
        advance(pool.vault, batch, holding(fee, 500))


def test_a_pledge_takes_each_coin_once(pool: PoolChain) -> None:
    games = graph(pool).about.games
    coins = [pool.purses[name].coins() for name in pool.keys]
    tx = pledge_tx(games, coins[0], coins[1:])
    assert [int(out.nValue) for out in tx.vout[:3]] == [game.sats for game in games]
    assert txid(tx) == txid(pledge_tx(games, coins[0], coins[1:]))
    with pytest.raises(TermsError, match="offered twice"):
        pledge_tx(games, coins[0], [coins[0], *coins[2:]])
    with pytest.raises(TermsError, match="member 0's coins lack"):
        pledge_tx(games, coins[0], [holding(coins[1], 9_000), *coins[2:]])


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"quorum": 4}, "quorum 4"),
        ({"quorum": 0}, "quorum 0"),
        ({"members": ()}, "members 0"),
        ({"width": 21}, "width 21"),
        ({"log4_steps": 16}, "log4_steps 16"),
        ({"bond_sats": 0}, "bond_sats 0"),
        ({"feerate_sat_vb": 11}, "feerate_sat_vb 11"),
        ({"deposit_window": 77}, "deposit_window 77"),
        ({"move_window": 9_000}, "move_window 9000"),
    ],
)
def test_terms_that_cannot_be_honoured(pool: PoolChain, changes, reason) -> None:
    with pytest.raises(TermsError, match=reason):
        replace(pool.vault, **changes)


def test_terms_use_a_key_once_and_have_a_name(pool: PoolChain) -> None:
    vault = pool.vault
    with pytest.raises(TermsError, match="one is used twice"):
        replace(vault, members=(vault.members[0], vault.members[0]))
    others = [replace(vault, quorum=3), replace(vault, deposit_window=201)]
    others.append(replace(vault, members=tuple(reversed(vault.members))))
    assert len({terms.digest for terms in (vault, *others)}) == 4
