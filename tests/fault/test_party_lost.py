"""A party's machine is lost in the middle of its claim or of a dispute; an old contract file and
the chain are all that is left of it."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.chain_contracts import read_contract
from actors.cli import app
from actors.contract_setting import Ending
from actors.contract_transfer import export_contract, import_contract
from actors.keyfile import load_seed
from actors.party_folder import SEED, PartyFolder
from protocol.errors import ConfigError, GuardError
from protocol.settlement.terms import Role
from tests.builders.parties import MortalDemo

pytestmark = pytest.mark.timeout(400)

PASSPHRASE = "correct horse battery staple"


class LostDemo(MortalDemo):
    """``loser`` exports when FUND is in a block, and loses its machine when the game waits for
    ``when``."""

    def __init__(self, ending: Ending, units: int, folder: Path, loser: Role, when: str) -> None:
        super().__init__(ending, units, folder)
        self.loser, self.when = loser, when

    def _mine(self, count: int = 1):
        status = super()._mine(count)
        own = status[self.loser]
        folder, name = self.setting.folder, self.loser.value
        machine, backup = folder / name, folder / "backup.contract"
        if own["stage"] == "funded" and not backup.exists():
            with self.stopped(name):
                _run("export", "--party", machine, "--out", backup, *self.passphrase_file)
        waits = own["dispute"] is not None and own["dispute"]["wait"] == self.when
        if waits and not (folder / "lost").exists():
            with self.stopped(name):
                machine.rename(folder / "lost")
                self.check_import(backup, machine)
                for key in ("identity.key", "wallet.key"):
                    shutil.copy(folder / "lost" / key, machine / key)
        return status

    @property
    def passphrase_file(self) -> tuple[str, Path]:
        file = self.setting.folder / "passphrase"
        file.write_text(PASSPHRASE + "\n")
        return "--passphrase-file", file

    def check_import(self, backup: Path, party: Path) -> None:
        """The backup knows of nothing that was revealed, the new guard does."""
        before = read_contract(backup)
        assert not any(before.revealed)
        _run(
            "import",
            *("--file", backup, "--party", party, "--chain", self.setting.socket),
            *self.passphrase_file,
        )
        lost = PartyFolder.open(party.with_name("lost"))
        with closing(lost), closing(PartyFolder.open(party)) as folder:
            shown = [label for label in before.labels if folder.guard.get(label)]
            assert len(lost.guard) == len(folder.guard) == len(shown) > 0
            for label in shown:
                assert folder.guard.get(label) == lost.guard.get(label)
            keys = folder.keys.one_time(before.terms, self.loser)
            with pytest.raises(GuardError, match="signed another message"):
                other = tuple(15 - digit for digit in folder.guard.get(shown[0]) or ())
                keys.sign({shown[0]: other}, folder.guard)


def _run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["contract", *map(str, arguments)])
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


def test_an_old_file_and_the_chain_are_enough(tmp_path: Path) -> None:
    demo = LostDemo(Ending.CLAIM_HOLDER, 12_345, tmp_path / "demo", Role.HOLDER, "INPUT")
    report = demo.run()
    assert report.ok, report
    assert (demo.setting.folder / "lost").exists()
    folder = demo.setting.folder
    export = export_contract(folder / "holder", None)
    file = folder / "watcher.contract"
    file.write_bytes(export)
    assert read_contract(file).graph().contract.id.hex() == report.contract
    seed = load_seed(folder / "holder" / SEED)
    assert seed not in export
    for name, error, message in (
        ("watcher.contract", ConfigError, "no sealed seed"),
        ("backup.contract", ConfigError, "passphrase: wrong"),
    ):
        with pytest.raises((error, ValueError), match=message):
            import_contract(folder / name, folder / "new", "another passphrase", None)
        assert not (folder / "new").exists()
    assert "to challenge a claim" in _run("terms", "--contract", file)


@pytest.mark.slow
@pytest.mark.parametrize(("loser", "wins"), [(Role.HOLDER, "prover"), (Role.WRITER, "challenger")])
def test_they_are_enough_in_the_middle_of_a_dispute(tmp_path: Path, loser: Role, wins) -> None:
    """An honest prover or challenger is lost when the records of a block are asked for."""
    ending = Ending.LIE_CHALLENGE if loser is Role.HOLDER else Ending.LIE_HOLDER
    demo = LostDemo(ending, 12_345, tmp_path / "demo", loser, "RECORDS")
    report = demo.run()
    assert report.ok, report
    assert report.dispute is not None and report.dispute.winner == wins
    assert (demo.setting.folder / "lost").exists()
