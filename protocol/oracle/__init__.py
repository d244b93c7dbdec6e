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
"""
