"""Backups: made of a folder, checked, refused when they were changed, and brought back."""

import io
import json
import shutil
import tarfile
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.backup import MANIFEST, create_backup
from actors.backup_commands import backup
from actors.backup_keys import KEYS
from actors.backup_restore import check_backup, restore_backup
from actors.dlc_store import LEDGER, DlcStore
from actors.history import History
from actors.journal import Journal, SignGuard, read_guard
from actors.keyfile import create_key, load_key
from actors.network_files import SETTINGS, Layout, write_network
from actors.operator import load_operator
from actors.ports import free_ports
from protocol.errors import ConfigError, GuardError
from tests.builders.network import leaks, secrets_in

PASSPHRASE = "five random words will do"


@pytest.fixture
def node(tmp_path):
    """The file of an oracle with keys, a guard, evidence, a DLC ledger and a history."""
    folder = tmp_path / "net"
    venues = dict.fromkeys(("binance", "coinbase", "kraken"), "live")
    write_network(folder, Layout(("alpha", "bravo", "charlie"), free_ports(4), SETTINGS, venues))
    operator = load_operator(folder / "alpha.toml")
    operator.folder.mkdir(parents=True)
    guard = SignGuard.open(operator.folder / "guard.journal", operator.publics["oracle"])
    for round_id in range(1, 6):
        guard.record(b"OBS1", bytes(32), bytes(32), round_id, b"message %d" % round_id)
    guard.close()
    journal, _ = Journal.open(operator.folder / "evidence.journal")
    journal.close()
    DlcStore.open(operator.folder / "dlc", load_key(operator.keys["dlc"]).public).close()
    (operator.folder / "dlc" / "public" / "event.announcement.json").write_text("{}\n")
    History.open(operator.folder / "history.sqlite", operator.network.config).close()
    return folder / "alpha.toml"


def changed(archive, out, change):
    """A copy of a backup whose members (name -> bytes) went through ``change``."""
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    change(members)
    with tarfile.open(out, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out


def test_a_node_comes_back_anywhere_as_it_was(node, tmp_path):
    archive, into = tmp_path / "alpha.tar", tmp_path / "elsewhere" / "alpha"
    made = create_backup(node, archive, PASSPHRASE)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert made.guards == {"data/alpha/guard.journal": 5}
    assert check_backup(archive) == check_backup(archive, PASSPHRASE) == made
    shutil.rmtree(node.parent / "data")
    before = load_operator(node)
    assert restore_backup(archive, into, PASSPHRASE) == made
    operator = load_operator(into / "alpha.toml")
    assert operator.network.config == before.network.config
    assert {p: load_key(path).public for p, path in operator.keys.items() if p != "nonce_seed"} == {
        p: load_key(path).public for p, path in before.keys.items() if p != "nonce_seed"
    }
    assert all(path.is_relative_to(into) for path in (*operator.keys.values(), operator.folder))
    guard = read_guard(operator.folder / "guard.journal")
    assert (guard.seq, guard.is_restored, guard.public) == (5, True, operator.publics["oracle"])
    assert (operator.folder / "dlc" / "public" / "event.announcement.json").read_text() == "{}\n"
    assert all(path.stat().st_mode & 0o077 == 0 for path in into.rglob("*") if path.is_file())


def test_no_key_is_in_a_backup_in_the_clear(node, tmp_path):
    secrets = secrets_in(node.parent)
    for name, passphrase in (("without", None), ("with", PASSPHRASE)):
        create_backup(node, tmp_path / name, passphrase)
        assert leaks(secrets, {name: (tmp_path / name).read_bytes()}) == []
    assert leaks(secrets, {"bait": next(iter(secrets)).read_bytes()}) == ["bait"]
    restore_backup(tmp_path / "with", tmp_path / "no-keys")
    assert not list((tmp_path / "no-keys").rglob("*.key"))
    assert not list((tmp_path / "no-keys").rglob(KEYS))


def test_paths_outside_the_folder_and_tls_files_move_in(node, tmp_path):
    far = tmp_path / "var" / "lib"
    shutil.move(node.parent / "data" / "alpha", far)
    for name in ("chain.pem", "private.pem"):
        (tmp_path / name).write_text(f"{name}\n")
    text = node.read_text().replace('folder = "data/alpha"', f"folder = '{far}' # here")
    keys = [f'"{node.parent}/keys/alpha/oracle.key"', f'"{node.parent}/keys/alpha/dlc.key"']
    text = text.replace('"keys/alpha/oracle.key"', keys[0])
    tls = f'\n[tls]\ncertificate = "{tmp_path}/chain.pem"\nkey = "{tmp_path}/private.pem"\n'
    node.write_text(text + tls)
    create_backup(node, tmp_path / "alpha.tar", PASSPHRASE)
    restore_backup(tmp_path / "alpha.tar", tmp_path / "new", PASSPHRASE)
    operator = load_operator(tmp_path / "new" / "alpha.toml")
    assert operator.folder == tmp_path / "new" / "data" / "alpha"
    assert "# here" in (tmp_path / "new" / "alpha.toml").read_text()
    assert operator.tls.cert.read_text() == "chain.pem\n"
    assert operator.tls.key.read_text() == "private.pem\n"


def test_a_node_with_a_signer_of_its_own(node, tmp_path):
    text = node.read_text()
    begin = text.index("[keys]")
    end = text.index("[venues]")
    signer = node.parent / "signer.toml"
    table = f'[signer]\nsocket = "run.sock"\nfolder = "{node.parent}/data/alpha"\n\n'
    signer.write_text(
        table
        + text[begin:end].replace(
            '"keys/alpha/oracle.key"', ('[\n  "keys/alpha/oracle.key",\n  "keys/alpha/old.key",\n]')
        )
    )
    shutil.copy(node.parent / "keys/bravo/oracle.key", node.parent / "keys/alpha/old.key")
    node.write_text(text[:begin] + '[signer]\nsocket = "run.sock"\n\n' + text[end:])
    with pytest.raises(ConfigError, match="name the file of its signer"):
        create_backup(node, tmp_path / "alpha.tar")
    made = create_backup(node, tmp_path / "alpha.tar", PASSPHRASE, signer)
    assert "keys/alpha/oracle-1.key" in made.keys
    restore_backup(tmp_path / "alpha.tar", tmp_path / "new", PASSPHRASE)
    operator = load_operator(tmp_path / "new" / "alpha.toml")
    assert operator.signer == tmp_path / "new" / "signer.sock"
    assert read_guard(operator.folder / "guard.journal").is_restored
    assert (tmp_path / "new/keys/alpha/oracle-1.key").read_bytes() == (
        node.parent / "keys/alpha/old.key"
    ).read_bytes()


def test_a_restored_ledger_knows_that_it_is_one(node, tmp_path):
    create_backup(node, tmp_path / "alpha.tar")
    restore_backup(tmp_path / "alpha.tar", tmp_path / "new")
    operator = load_operator(tmp_path / "new" / "alpha.toml")
    ledger = operator.folder / "dlc" / LEDGER
    old = (node.parent / "data" / "alpha" / "dlc" / LEDGER).read_bytes()
    assert ledger.read_bytes().startswith(old)
    assert len(ledger.read_bytes()) > len(old)


def test_what_is_not_in_the_backup_is_restored_as_a_copy_too(node, tmp_path):
    """Guards and ledger may have been made after it: by the first start, or for a new key."""
    shutil.rmtree(node.parent / "data" / "alpha")
    create_key(node.parent / "keys/alpha/oracle-2.key")
    keys = 'oracle = ["keys/alpha/oracle.key", "keys/alpha/oracle-2.key"]'
    node.write_text(node.read_text().replace('oracle = "keys/alpha/oracle.key"', keys))
    made = create_backup(node, tmp_path / "alpha.tar", PASSPHRASE)
    assert made.guards == {}
    restore_backup(tmp_path / "alpha.tar", tmp_path / "new", PASSPHRASE)
    operator = load_operator(tmp_path / "new" / "alpha.toml")
    found = [read_guard(path) for path in operator.folder.glob("guard*.journal")]
    publics = {load_key(operator.keys[name]).public for name in ("oracle", "oracle[1]")}
    assert {guard.public for guard in found} == publics
    assert all(guard.is_restored for guard in found)
    with closing(DlcStore.open(operator.folder / "dlc", bytes(32))) as store:
        assert store.is_restored
    restore_backup(tmp_path / "alpha.tar", tmp_path / "no-keys")
    folder = load_operator(tmp_path / "no-keys" / "alpha.toml").folder
    (path,) = folder.glob("guard*.journal")
    assert (read_guard(path).is_restored, read_guard(path).public) == (
        True,
        operator.publics["oracle"],
    )


def test_who_changes_the_manifest_has_the_passphrase(node, tmp_path):
    create_backup(node, tmp_path / "alpha.tar", PASSPHRASE)

    def without_guard(members):
        name = "data/alpha/guard.journal"
        del members[name]
        files = json.loads(members[MANIFEST])["files"]
        del files[name]
        edit(members, guards={}, files=files)

    bad = changed(tmp_path / "alpha.tar", tmp_path / "bad.tar", without_guard)
    with pytest.raises(ConfigError, match="it or the manifest was altered"):
        restore_backup(bad, tmp_path / "new", PASSPHRASE)
    restore_backup(bad, tmp_path / "new")  # whoever copies the keys in has a marked guard
    guard = load_operator(tmp_path / "new" / "alpha.toml").folder / "guard.journal"
    assert read_guard(guard).is_restored


def listed(members, name, data=b"x"):
    """A file that the manifest knows of."""
    members[name] = data
    files = json.loads(members[MANIFEST])["files"]
    edit(members, files=files | {name: (sha256(data).hexdigest(), len(data))})


def elsewhere(members, folder):
    """The node's data in a folder that is not the backup's."""
    text = members["alpha.toml"].decode()
    assert 'folder = "data/alpha"' in text
    listed(members, "alpha.toml", text.replace('"data/alpha"', f'"{folder}"').encode())


def edit(members, **fields):
    manifest = json.loads(members[MANIFEST])
    members[MANIFEST] = json.dumps(manifest | fields).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.pop(MANIFEST), "no manifest.json in it"),
        (lambda m: m.update({MANIFEST: b"{}"}), "no manifest.json in it"),
        (lambda m: edit(m, format="oracle-vm backup 2"), "this program knows"),
        (lambda m: m.pop("network.toml"), "network.toml: altered or missing"),
        (lambda m: m.update({"network.toml": b"x"}), "network.toml: altered or missing"),
        (lambda m: m.update({"evil": b"x"}), "evil: not in its manifest"),
        (lambda m: listed(m, "../evil"), "../evil: not in its manifest"),
        (lambda m: listed(m, "/tmp/oracle-vm-evil"), "/tmp/oracle-vm-evil: not in its manifest"),
        (lambda m: edit(m, node=5), "no manifest.json in it"),
        (lambda m: edit(m, keys=["oracle.key"]), "do not agree"),
        (lambda m: elsewhere(m, "/tmp/oracle-vm-evil"), "its folder is not data/alpha in it"),
        (lambda m: elsewhere(m, "../alpha"), "its folder is not data/alpha in it"),
        (lambda m: edit(m, guards={"data/alpha/guard.journal": 4}), "the manifest says"),
        (lambda m: edit(m, guards={}), "the manifest says"),
    ],
    ids=map(str, range(14)),
)
def test_a_backup_that_was_changed_is_refused_and_nothing_is_left(node, tmp_path, change, reason):
    create_backup(node, tmp_path / "alpha.tar")
    bad = changed(tmp_path / "alpha.tar", tmp_path / "bad.tar", change)
    with pytest.raises((ConfigError, GuardError), match=reason):
        check_backup(bad)
    with pytest.raises((ConfigError, GuardError), match=reason):
        restore_backup(bad, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not Path("/tmp/oracle-vm-evil").exists()


def test_a_passphrase_proves_nothing_of_a_backup_without_keys(node, tmp_path):
    """Who takes the sealed keys out, and everything that names them, can change the rest."""
    create_backup(node, tmp_path / "alpha.tar", PASSPHRASE)

    def stripped(members):
        del members[KEYS]
        files = json.loads(members[MANIFEST])["files"]
        del files[KEYS]
        edit(members, keys=[], files=files)

    bad = changed(tmp_path / "alpha.tar", tmp_path / "bad.tar", stripped)
    for act in (check_backup, lambda *a: restore_backup(a[0], tmp_path / "new", a[1])):
        with pytest.raises(ConfigError, match="it holds no keys, so no passphrase proves"):
            act(bad, PASSPHRASE)
    assert not (tmp_path / "new").exists()


def test_a_new_key_may_stand_before_the_old_one(node, tmp_path):
    """New names of files in a backup may be old ones of others."""
    new = create_key(node.parent / "keys/alpha/oracle-1.key").public
    keys = 'oracle = ["keys/alpha/oracle-1.key", "keys/alpha/oracle.key"]'
    node.write_text(node.read_text().replace('oracle = "keys/alpha/oracle.key"', keys))
    create_backup(node, tmp_path / "alpha.tar", PASSPHRASE)
    restore_backup(tmp_path / "alpha.tar", tmp_path / "new", PASSPHRASE)
    restored = load_operator(tmp_path / "new" / "alpha.toml")
    assert load_key(restored.keys["oracle"]).public == new
    old = load_key(node.parent / "keys/alpha/oracle.key").public
    assert load_key(restored.keys["oracle[1]"]).public == old


def test_what_a_command_refuses(node, tmp_path):
    archive = tmp_path / "alpha.tar"
    create_backup(node, archive, PASSPHRASE)
    with pytest.raises(ConfigError, match="never overwritten"):
        create_backup(node, archive)
    with pytest.raises(ConfigError, match="passphrase: wrong"):
        restore_backup(archive, tmp_path / "new", "another passphrase")
    with pytest.raises(ConfigError, match="at least 12 characters"):
        create_backup(node, tmp_path / "short.tar", "short")
    with pytest.raises(ConfigError, match="not empty"):
        restore_backup(archive, node.parent, PASSPHRASE)
    (tmp_path / "text").write_text("no tar")
    with pytest.raises(ConfigError, match="no backup that can be read"):
        check_backup(tmp_path / "text")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "short.tar").exists()


def test_the_commands(node, tmp_path):
    archive, passphrase = tmp_path / "alpha.tar", tmp_path / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    create = ["create", archive, "--config", node, "--with-keys"]
    made = run(*create, "--passphrase-file", passphrase)
    assert "data/alpha/guard.journal ends at 5" in made.stdout
    assert json.loads(run("check", archive, "--json").stdout)["name"] == "alpha"
    restored = run("restore", archive, "--into", tmp_path / "new")
    assert "keys: not restored; copy them to" in restored.stdout
    refused = CliRunner().invoke(backup, [str(word) for word in create])
    assert "give both or none" in str(refused.exception)


def run(*words):
    found = CliRunner().invoke(backup, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found
