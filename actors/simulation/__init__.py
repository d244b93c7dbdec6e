"""The oracle network in virtual time: the real members, nodes, keys and rules on simulated links,
disks, clocks and exchanges, with faults drawn from a seed. The same seed gives the same run.

scenario      what happens in one schedule, drawn from seed and number
market        the true price and what an honest oracle sees of it
links         delays, drops, duplicates and partitions
machine       the disk that survives a crash, and the clock
process       an honest member on its machine
traitors      oracles that use their key against the others
bad_aggregators     aggregators that forge, withhold, burn or split
invariants    what must hold at every event and at the end
world         the event loop of one schedule
campaign      many schedules, counted
broken        honest nodes without one of their defences, to see the invariants bite
"""
