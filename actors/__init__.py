"""The edge: Ray actors, network, disk and time around the pure rules of ``protocol``.

Ray reads its security settings when it is first imported, so they are fixed here, before that: a
cluster that we start is closed by a token of its own run, and nothing is reported to anybody.
"""

import os
import secrets

os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
