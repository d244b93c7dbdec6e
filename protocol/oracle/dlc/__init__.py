"""Discreet log contracts: what an oracle announces, and what it attests once it is known.

An announcement names a nonce for every digit of an outcome; an attestation is one signature a digit
with that nonce. Whoever made a contract on the announcement can then publish the transaction of the
outcome, and no other. The bytes are those that oracles in the wild sign, which differ from the text
of dlcspecs in places; docs/dlc.md lists them.

tlv           fields, BigSize, type-length-value
descriptor    what an outcome looks like: one of a list, or digits
event         nonces, maturity, descriptor, id
announcement  an event and the oracle's signature of it
nonce         nonces from a seed
attestation   the signatures of an outcome
ledger        the rule: an event is announced once and has one outcome
evidence      two signatures with one nonce, and the key that they reveal
price         events of certified prices
"""
