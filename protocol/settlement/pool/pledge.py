"""PLEDGE: the coins of the sequencer and the committee into one output for each game.

Inputs: the sequencer's coins, then those of members 0, 1, .. Outputs: game 0, 1, .., then the
change of each in the same order, where it exceeds dust. Each pays for its own inputs and change,
the sequencer for the rest.
"""

from collections.abc import Sequence

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.fees import OVERHEAD_WEIGHT, dust_limit_sats, fee_sats, output_weight
from protocol.bitcoin.tx import outpoint_key, transaction, txin, txout
from protocol.errors import TermsError
from protocol.settlement.funding import Contribution
from protocol.settlement.pool.game import MemberGame
from protocol.settlement.pool.terms import MEMBER, SEQUENCER

_ROUNDING_WEIGHT = 3


def pledge_needs(games: Sequence[MemberGame], member: int | None, coins_weight: int) -> int:
    """The sats that a member, or the sequencer (None), brings in coins of that weight, without
    asking for change."""
    rate = games[0].terms.vault.feerate_sat_vb
    own = fee_sats(coins_weight, rate)
    if member is not None:
        return games[member].stake_sats(MEMBER) + own
    common = OVERHEAD_WEIGHT + _ROUNDING_WEIGHT
    common += sum(output_weight(game.lock.script_pubkey) for game in games)
    return sum(game.stake_sats(SEQUENCER) for game in games) + own + fee_sats(common, rate)


def pledge_tx(
    games: Sequence[MemberGame], sequencer: Contribution, members: Sequence[Contribution]
) -> CTransaction:
    """PLEDGE without witnesses; its txid is final. TermsError if it cannot be paid for."""
    if len(members) != len(games):
        raise TermsError(f"PLEDGE takes coins of {len(games)} members, {len(members)} are given")
    parties = [(None, sequencer), *enumerate(members)]
    coins = [coin for _, party in parties for coin in party.coins]
    if len({outpoint_key(coin.outpoint) for coin in coins}) != len(coins):
        raise TermsError("a coin is offered twice in PLEDGE")
    # A wallet signs whatever is its own: nobody's coins may pay for another one.
    scripts = [{bytes(coin.output.scriptPubKey) for coin in party.coins} for _, party in parties]
    if sum(map(len, scripts)) != len(set[bytes]().union(*scripts)):
        raise TermsError("coins of two parties in PLEDGE have one script: each brings its own")
    rate = games[0].terms.vault.feerate_sat_vb
    outputs = [txout(game.sats, game.lock.script_pubkey) for game in games]
    for member, party in parties:
        left = party.sats - pledge_needs(games, member, party.weight)
        if left < 0:
            who = "the sequencer" if member is None else f"member {member}"
            raise TermsError(f"{who}'s coins lack {-left} sats for PLEDGE: add one")
        change = left - fee_sats(output_weight(party.change_script), rate)
        if change >= dust_limit_sats(party.change_script):
            outputs.append(txout(change, party.change_script))
    return transaction([txin(coin.outpoint) for coin in coins], outputs)


def pledge_spent(sequencer: Contribution, members: Sequence[Contribution]) -> tuple[CTxOut, ...]:
    """What PLEDGE's inputs spend, in order: its signatures commit to that."""
    return tuple(coin.output for party in (sequencer, *members) for coin in party.coins)
