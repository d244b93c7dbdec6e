"""A party's machine is lost in the middle of its claim; an old contract file and the chain are all
that is left of it."""

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

PASSPHRASE = "correct horse battery staple"


class LostDemo(MortalDemo):
    """The holder exports when FUND is in a block, and loses its machine when INPUT_1 is."""

    def _mine(self, count: int = 1):
        status = super()._mine(count)
        stage = status[Role.HOLDER]["stage"]
        folder = self.setting.folder
        holder, backup = folder / "holder", folder / "backup.contract"
        if stage == "funded" and not backup.exists():
            with self.stopped("holder"):
                _run("export", "--party", holder, "--out", backup, *self.passphrase_file)
        if stage == "claimed" and not (folder / "lost").exists():
            with self.stopped("holder"):
                holder.rename(folder / "lost")
                self.check_import(backup, holder)
                for name in ("identity.key", "wallet.key"):
                    shutil.copy(folder / "lost" / name, holder / name)
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
            assert [label.field for label in shown[:5]] == ["input"] * 5
            assert len(lost.guard) == len(folder.guard) == len(shown)
            for label in shown:
                assert folder.guard.get(label) == lost.guard.get(label)
            keys = folder.keys.one_time(before.terms, Role.HOLDER)
            with pytest.raises(GuardError, match="signed another message"):
                keys.sign({shown[0]: (0,) * shown[0].digits}, folder.guard)


def _run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["contract", *map(str, arguments)])
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


def test_an_old_file_and_the_chain_are_enough(tmp_path: Path) -> None:
    demo = LostDemo(Ending.CLAIM_HOLDER, 12_345, tmp_path / "demo")
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
    assert "from KICKOFF to SETTLE" in _run("terms", "--contract", file)
