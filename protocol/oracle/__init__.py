"""The price oracle's rules, pure: integers and bytes; time, keys and disk are arguments.

layout          checks shared by every fixed-length encoding
config feed observation report certificate evidence merkle      the encodings
price           venue quotes -> one oracle's price
quorum          prices -> median, confidence, grade; the thresholds of n and f
proposal        building a report, and all that an oracle checks before it signs one
inbox           the observations that reached a node
chain           the newest certificate that a node knows
ballot          the votes of one round
round           the oracle and the aggregator as state machines: inbox -> outbox

Members of the network, driven by time and messages, for one feed and several alike:

messages        what they say besides the above, and the effects that they want carried out
schedule        when a round is due, and whose turn it is to propose it
peer            what an oracle and the aggregator have in common
member          both of them
proposer        which open round to propose now
catch_up        fetching missed certificates
outliers        who keeps differing from the others

Several feeds under one signature (the module on the left does it for one feed):

observation     batch, batch_observation
report          batch, rows
certificate     batch_certificate
quorum          sheet
proposal        batch_proposal, selection, breaker
inbox chain     batch_inbox, batch_chain
round           batch_round
"""
