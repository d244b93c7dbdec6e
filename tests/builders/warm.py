"""What every process of a contract computes first: preloaded once by those who fork many."""

import tempfile
from pathlib import Path

from actors.contract_setting import Ending, Setting
from actors.contract_terms import stand_in
from actors.party_config import load_party
from riscv_vm.prove import warm_up

with tempfile.TemporaryDirectory() as _folder:
    Setting.create(Path(_folder), Ending.COOPERATIVE)
    _party = load_party(Path(_folder) / "holder.toml")
    stand_in(_party.claim, _party.terms)
warm_up((_party.terms.width,))
