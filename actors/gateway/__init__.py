"""The market over HTTP and WebSocket: FastAPI on granian, in a process of its own.

program     what ``oracle-vm api run`` runs: market and server in one event loop
app         routes, error documents, OpenAPI
guard       what is refused before a route sees it: foreign hosts, long bodies
problems    errors as RFC 9457 documents
models      what goes in and out, for OpenAPI and for checking what comes in
views       what goes out: JSON of the market's values
prices      routes: instruments, quotes, index, certificates
contracts   routes: contracts, exercise, disputes
pool        routes: the pool, positions, orders, operations; pool_models what they take and give
dlc         routes: announcements and attestations for discreet log contracts
status      routes: nodes, health, metrics
stream      channels: their state, snapshots and changes
socket      one client of ``/v1/stream``
"""
