"""The multi-asset pool: one stablecoin, positions on many tokens, in GMX's nouns (docs/pool.md).

reject, muldiv                         codes of refusal; checked integers
params, profiles, state                what does not change, and the pool's own datum and rows
position, order, account, tree         what owners hold, and the trees it is committed in
operation, prices                      what changes the state, and at which prices
funding, pnl                           formulas
pool, draft                            a state in memory; the changes of an operation not yet made
trade, closing, liquidity, orders      the operations
transition, batch                      one operation; many under one certificate, and the journal
view                                   the state as people read it
image, witness                         the guest with a pool's terms in it; what it reads
"""
