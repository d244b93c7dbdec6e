"""Faults on purpose: a plan, a running network, invariants that are checked meanwhile, a report."""
