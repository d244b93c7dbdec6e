"""Do the backends agree? Scenarios that run on any ``Chain``, and what two chains tell each other.

A scenario checks what must hold everywhere and writes down what it saw; two backends conform if
they wrote the same. What a mempool refuses differs by node and is never part of that record, but
checked against what was measured of each policy.
"""
