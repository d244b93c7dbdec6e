"""DLC events of an oracle: the ledger on disk, the commands, `verify`, the gateway's routes."""

import json
import threading
import time
from contextlib import closing
from dataclasses import replace
from hashlib import sha256

import pytest
import typer
from typer.testing import CliRunner

from actors import dlc_commands
from actors.dlc_store import (
    LEDGER,
    DlcStore,
    announcement_file,
    attestation_file,
    mark_restored,
)
from actors.epochs import load_rotation
from actors.gateway import dlc as routes
from actors.history import History
from actors.key_commands import init
from actors.keyfile import load_key, load_seed
from actors.network import load_network
from actors.operator import load_operator
from actors.verify_command import judge, verify
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, EncodingError, GuardError, QuorumError
from protocol.oracle.batch import BatchReport
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.attestation import Attestation, attest
from protocol.oracle.dlc.descriptor import DigitDescriptor, EnumDescriptor
from protocol.oracle.dlc.nonce import make_event
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot, expiry_of
from protocol.oracle.rows import ReportRows
from tests.actors.gateway.test_prices import problem
from tests.builders.market import gateway_on
from tests.builders.oracles import AUX, PRICE, ROUND, certify
from tests.builders.oracles import CONFIG as FOREIGN
from tests.builders.rotations import drafted, installed, next_network

KEY = SecretKey(sha256(b"dlc key").digest())
SEED = sha256(b"dlc seed").digest()
DIGITS = DigitDescriptor(20, unit="USD")
EVENT = "btcusd-1790359200"


def announced(event_id=EVENT, descriptor=DIGITS, maturity=ROUND):
    return Announcement.sign(KEY, make_event(SEED, event_id, maturity, descriptor), AUX)


def attested(store, value, event_id=EVENT):
    def sign(announcement, outcomes):
        return attest(KEY, SEED, announcement, outcomes)

    return store.attest(event_id, DIGITS.outcomes_of(value), sign)


@pytest.fixture
def store(tmp_path):
    opened = DlcStore.open(tmp_path, KEY.public)
    opened.announce(announced())
    yield opened
    opened.close()


# The store


def test_it_is_all_there_after_a_restart(tmp_path, store):
    done = attested(store, 83_744)
    store.announce(announced("other"))
    store.close()
    again = DlcStore.open(tmp_path, KEY.public)
    assert list(again.ledger.announced) == [EVENT, "other"]
    assert again.ledger.bound == {EVENT: DIGITS.outcomes_of(83_744)}
    assert attested(again, 83_744) == done
    with pytest.raises(GuardError, match="would reveal the key"):
        attested(again, 83_745)
    again.close()


def test_the_first_announcement_of_an_event_stands(store):
    event = announced().event
    fresh = Announcement.sign(KEY, event, b"\x01" * 32)
    assert fresh != announced()
    assert store.announce(fresh) == announced()
    with pytest.raises(GuardError, match="other terms"):
        store.announce(announced(maturity=ROUND + 1))


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "x" * 201, "a b", "é"])
def test_a_name_that_is_no_file_name_is_refused(store, name):
    with pytest.raises(EncodingError):
        store.announce(announced(name))


def test_public_files_are_made_again(tmp_path, store):
    done = attested(store, 5)
    for file in (announcement_file(tmp_path, EVENT), attestation_file(tmp_path, EVENT)):
        text = file.read_text()
        file.unlink()
        store.announce(announced())
        assert attested(store, 5) == done
        assert file.read_text() == text
        assert judge(text.encode(), None).reason is None


def test_a_disk_that_fails_signs_nothing(tmp_path):
    def full(fd):
        raise OSError(28, "No space left on device")

    opened = DlcStore.open(tmp_path, KEY.public)
    opened.announce(announced())
    opened._journal._fsync = full
    with pytest.raises(GuardError, match="No space left"):
        opened.attest(EVENT, DIGITS.outcomes_of(1), pytest.fail)
    with pytest.raises(GuardError, match="open it again"):
        opened.attest(EVENT, DIGITS.outcomes_of(1), pytest.fail)
    opened.close()
    assert not attestation_file(tmp_path, EVENT).exists()


def test_a_ledger_of_another_key_or_in_use_or_damaged_is_refused(tmp_path, store):
    with pytest.raises(GuardError, match="in use"):
        DlcStore.open(tmp_path, KEY.public)
    store.close()
    with pytest.raises(GuardError, match="another key"):
        DlcStore.open(tmp_path, SecretKey(SEED).public)
    path = tmp_path / "ledger.journal"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises(GuardError, match="damaged"):
        DlcStore.open(tmp_path, KEY.public)


def test_an_old_copy_of_the_journal_is_found_out(tmp_path, store):
    old = (tmp_path / "ledger.journal").read_bytes()
    attested(store, 83_744)
    store.announce(announced("later"))
    store.close()
    (tmp_path / "ledger.journal").write_bytes(old)
    again = DlcStore.open(tmp_path, KEY.public)
    with pytest.raises(GuardError, match="an old copy"):
        attested(again, 83_745)
    with pytest.raises(GuardError, match="an old copy"):
        again.announce(announced("later", maturity=ROUND + 5))
    assert attested(again, 83_744).outcomes == DIGITS.outcomes_of(83_744)
    again.close()


def test_one_of_fifty_that_attest_at_once_wins(tmp_path, store):
    store.close()
    done, refused = [], []
    freed, end = threading.Condition(), time.monotonic() + 60

    def one(value):
        while time.monotonic() < end:
            try:
                opened = DlcStore.open(tmp_path, KEY.public)
            except GuardError as error:
                assert "in use" in str(error)
                with freed:
                    freed.wait(0.2)
                continue
            try:
                done.append(attested(opened, value))
            except GuardError as error:
                refused.append(str(error))
            finally:
                opened.close()
                with freed:
                    freed.notify()
            return

    threads = [threading.Thread(target=one, args=(value,)) for value in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == (1, 49)
    assert all("would reveal the key" in reason for reason in refused)
    text = json.loads(attestation_file(tmp_path, EVENT).read_text())
    assert Attestation.decode(bytes.fromhex(text["attestation"])) == done[0]


# The commands


def test_a_restored_ledger_leaves_events_of_before_alone(tmp_path, store):
    """What the lost part attested is not known any more; a second outcome gives the key away."""
    for name, maturity in (("bound", ROUND), ("due", ROUND + 10), ("later", ROUND + 11)):
        store.announce(announced(name, maturity=maturity))
    done = attested(store, 83_744, "bound")
    store.close()
    mark_restored(tmp_path / LEDGER)
    again = DlcStore.open(tmp_path, KEY.public)
    assert again.is_restored
    with pytest.raises(GuardError, match="event later: may have been attested before"):
        attested(again, 83_744, "later")
    again.resume(ROUND + 10)
    again.close()
    again = DlcStore.open(tmp_path, KEY.public)
    assert not again.is_restored
    assert attested(again, 83_744, "bound") == done
    with pytest.raises(GuardError, match="event due: may have been attested before"):
        attested(again, 83_744, "due")
    assert attested(again, 83_744, "later").outcomes == DIGITS.outcomes_of(83_744)
    again.close()


def test_a_ledger_that_was_not_in_the_backup_is_made_and_marked(tmp_path):
    mark_restored(tmp_path / LEDGER)
    for is_restored in (True, False):
        store = DlcStore.open(tmp_path, KEY.public)
        assert store.is_restored == is_restored
        if is_restored:
            store.resume(ROUND)
        store.close()
    with pytest.raises(GuardError, match="the ledger of another key"):
        DlcStore.open(tmp_path, SecretKey(SEED).public)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dlc") / "net"
    init(folder, 3, ["BTC/USD", "ETH/USD"], 7000, None, "live")
    return folder


def run(*arguments, code=0):
    """The JSON lines that a command prints."""
    result = CliRunner().invoke(
        dlc_commands.dlc, [str(a) for a in arguments], catch_exceptions=False
    )
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def certified(network, round_id, price=PRICE, name="network.toml"):
    """A certificate by the network's own keys, in a file."""
    loaded = load_network(network / name)
    keys = [load_key(network / f"keys/{name}/oracle.key") for name in loaded.names]
    made = certify(
        replace(
            Certificate.decode(bytes.fromhex(TEMPLATE)).report,
            config_digest=loaded.config.digest,
            feed_id=loaded.feeds[0].feed_id,
            round=round_id,
            price_e8=price,
            time=1000 * round_id,
        )
    )
    signatures = tuple((i, keys[i].sign(made.hash, AUX)) for i in (0, 1))
    file = network / f"{round_id}-{price}.hex"
    file.write_text(replace(made, signatures=signatures).encode().hex())
    return file


def template():
    from tests.builders.epochs import certificate

    return certificate().encode().hex()


TEMPLATE = template()


def test_announce_and_attest(network):
    config = network / "alpha.toml"
    later = int(time.time()) + 7 * 86_400
    asked = ("announce", "--config", config, "--maturity", later)
    (line,) = run(*asked)
    assert line["event_id"] == f"btcusd-{later}"
    assert run(*asked) == [line], "the announcement that was made stands"
    (cents,) = run(*asked, "--unit", "cents")
    verdict = judge(json.dumps(line).encode(), None)
    key = load_key(network / "keys/alpha/dlc.key").public.hex()
    assert (verdict.kind, verdict.reason, verdict.details) == (
        "announcement",
        None,
        {"oracle": key, "event": f"btcusd-{later}", "maturity": later},
    )
    file = certified(network, later)
    rows = run("attest", "--config", config, file)
    assert [(row["event_id"], row["value"]) for row in rows] == [
        (line["event_id"], 83_744),
        (cents["event_id"], 8_374_400),
    ]
    assert run("attest", "--config", config, file) == rows, "the same bytes"
    verdict = judge(json.dumps(rows[0]).encode(), None)
    assert (verdict.kind, verdict.reason) == ("attestation", None)
    assert verdict.details["outcome"] == 83_744
    with pytest.raises(GuardError, match="would reveal the key"):
        run("attest", "--config", config, certified(network, later, PRICE + 10**8))


def test_a_batch_and_an_expiry_attest_too(network):
    config, later = network / "alpha.toml", int(time.time()) + 2 * 86_400
    loaded = load_network(network / "network.toml")
    keys = [load_key(network / f"keys/{name}/oracle.key") for name in loaded.names]
    for feed in ("BTC/USD", "ETH/USD"):
        run("announce", "--config", config, "--maturity", later, "--feed", feed)
    run("announce", "--config", config, "--maturity", later + 9)
    template = Certificate.decode(bytes.fromhex(TEMPLATE)).report
    reports = [
        replace(
            template,
            config_digest=loaded.config.digest,
            feed_id=feed_id,
            round=later,
            price_e8=(2 + number) * 10**8,
            time=1000 * later,
        )
        for number, feed_id in enumerate(sorted(feed.feed_id for feed in loaded.feeds))
    ]
    rows = ReportRows(b"".join(report.encode() for report in reports))
    header = BatchReport(
        config_digest=loaded.config.digest,
        round=later,
        n=len(reports),
        root=rows.root,
        prev_batch_hash=bytes(32),
    )

    def signatures(message):
        return tuple((i, keys[i].sign(message, AUX)) for i in (0, 1))

    file = network / "batch.hex"
    file.write_text(BatchCertificate(header, rows, signatures(header.hash)).encode().hex())
    found = run("attest", "--config", config, file)
    assert {row["event_id"] for row in found} == {f"btcusd-{later}", f"ethusd-{later}"}
    assert {row["value"] for row in found} == {2, 3}
    slot = ExpirySlot(
        config_digest=loaded.config.digest,
        feed_id=loaded.feeds[0].feed_id,
        start_round=later + 9,
        target_round=later + 9,
    )
    late = replace(reports[0], feed_id=slot.feed_id, round=later + 12, prev_report_hash=bytes(32))
    expiry = expiry_of(slot, 10, [late])
    file.write_text(ExpiryCertificate(expiry, signatures(expiry.hash)).encode().hex())
    (row,) = run("attest", "--config", config, file)
    assert (row["event_id"], row["value"]) == (f"btcusd-{later + 9}", late.price_e8 // 10**8)


def test_an_event_is_attested_from_a_certificate_of_the_epoch_of_its_round(tmp_path):
    net, begins = tmp_path / "net", int(time.time()) + 600
    init(net, 3, ["BTC/USD"], 7000, None, "live")
    following = next_network(net, quorum=2, faults=0)
    draft = drafted(net, following, begins)
    message = load_rotation(draft).rotation.hash
    signatures = net / "signatures"
    signatures.write_text(
        "".join(
            f'{name} = "{load_key(net / f"keys/{name}/oracle.key").sign(message, AUX).hex()}"\n'
            for name in load_network(net / "network.toml").names[:2]
        )
    )
    installed(net, draft, [signatures])
    config = net / "alpha.toml"
    for maturity in (begins - 1, begins + 1):
        run("announce", "--config", config, "--maturity", maturity)
    (row,) = run("attest", "--config", config, certified(net, begins - 1))
    assert row["event_id"] == f"btcusd-{begins - 1}"
    with pytest.raises(QuorumError, match="is certified by epoch 2 only"):
        run("attest", "--config", config, certified(net, begins + 1))
    (row,) = run("attest", "--config", config, certified(net, begins + 1, name=following.name))
    assert row["event_id"] == f"btcusd-{begins + 1}"


def test_a_restored_ledger_resumes_behind_the_newest_certified_report(network):
    """The clock of this machine may be behind: the history knows better."""
    operator = load_operator(network / "bravo.toml")
    later = int(time.time()) + 3600
    run("announce", "--config", network / "bravo.toml", "--maturity", later)
    file = certified(network, later)
    with closing(History.open(operator.folder / "history.sqlite", operator.network.config)) as db:
        db.append(bytes.fromhex(file.read_text()))
    mark_restored(operator.folder / "dlc" / LEDGER)
    with pytest.raises(GuardError, match="may have been attested before"):
        run("attest", "--config", network / "bravo.toml", file)


def test_all_oracles_attest_the_same_digits(network):
    later = int(time.time()) + 86_400
    found = []
    for name in ("alpha", "bravo", "charlie"):
        config = network / f"{name}.toml"
        run("announce", "--config", config, "--maturity", later)
        (row,) = run("attest", "--config", config, certified(network, later))
        found.append(Attestation.decode(bytes.fromhex(row["attestation"])))
    assert len({one.outcomes for one in found}) == 1
    assert len({one.public for one in found}) == 3


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--maturity", "2020-01-01T00:00:00Z"), "it is over"),
        (("--maturity", "1577836800"), "it is over"),
        (("--maturity", "2040-01-01"), "unix seconds"),
        (("--maturity", "2040-01-01T00:00:00"), "unix seconds"),
        (("--maturity", "2040-01-01T00:00:00.5Z"), "unix seconds"),
        (("--maturity", "soon"), "unix seconds"),
        (("--maturity", "9" * 30), "unix seconds"),
        (("--maturity", "2040-01-01T00:00:00Z", "--unit", "btc"), "choose from usd, cents"),
        (("--maturity", "2040-01-01T00:00:00Z", "--feed", "XAU/USD"), "XAU/USD"),
    ],
)
def test_what_cannot_be_announced(network, arguments, names):
    with pytest.raises(ConfigError, match=names):
        run("announce", "--config", network / "alpha.toml", *arguments)


def test_what_cannot_be_attested(network, tmp_path):
    config = network / "bravo.toml"
    with pytest.raises(ConfigError, match="it answers no event that was announced"):
        run("attest", "--config", config, certified(network, 2_000_000_000))
    foreign = tmp_path / "foreign.hex"
    foreign.write_text(TEMPLATE)
    with pytest.raises(ConfigError, match="it answers no event"):
        run("attest", "--config", config, foreign)
    later = int(time.time()) + 5_000
    run("announce", "--config", config, "--maturity", later)
    report = replace(Certificate.decode(bytes.fromhex(TEMPLATE)).report, round=later)
    feed_id = load_network(network / "network.toml").feeds[0].feed_id
    foreign.write_text(certify(replace(report, feed_id=feed_id)).encode().hex())
    with pytest.raises(QuorumError, match="is unknown: another network"):
        run("attest", "--config", config, foreign)
    assert load_network(network / "network.toml").config != FOREIGN
    with pytest.raises(ConfigError, match="role is aggregator"):
        run("attest", "--config", network / "aggregator.toml", foreign)
    foreign.write_text(announced().encode().hex())
    with pytest.raises(EncodingError, match="magic"):
        run("attest", "--config", config, foreign)


def test_nothing_secret_is_printed_or_public(network):
    config = network / "charlie.toml"
    later = int(time.time()) + 3_600
    run("announce", "--config", config, "--maturity", later)
    row = run("attest", "--config", config, certified(network, later))
    shown = json.dumps(row) + "".join(
        file.read_text() for file in (network / "data/charlie/dlc/public").iterdir()
    )
    for name in ("dlc", "nonce-seed"):
        assert load_seed(network / f"keys/charlie/{name}.key").hex() not in shown


# verify


WEATHER = announced("weather", EnumDescriptor(("rain", "sun")))
RAIN, SUN = (attest(KEY, SEED, WEATHER, (text,)) for text in ("rain", "sun"))


def file_of(**messages):
    return json.dumps({k: m.encode().hex() for k, m in messages.items()}).encode()


def test_verify_knows_events_of_a_list():
    verdict = judge(file_of(announcement=WEATHER, attestation=RAIN), None)
    assert (verdict.kind, verdict.reason) == ("attestation", None)
    assert verdict.details["outcome"] == "rain"
    assert judge(WEATHER.encode().hex().upper().encode(), None).kind == "announcement"


def test_verify_knows_evidence():
    pair = {"attestations": [one.encode().hex() for one in (RAIN, SUN)]}
    verdict = judge(json.dumps(pair).encode(), None)
    assert verdict.reason is None
    assert verdict.details == {
        "oracle": KEY.public.hex(),
        "events": ["weather", "weather"],
        "digits": 1,
    }
    assert sha256(b"dlc key").hexdigest() not in json.dumps(verdict.details)
    pair["attestations"][1] = RAIN.encode().hex()
    assert "convicts nobody" in judge(json.dumps(pair).encode(), None).reason


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (RAIN.encode().hex().encode(), "its `announcement`"),
        (file_of(attestation=RAIN), "its `announcement`"),
        (file_of(announcement=RAIN), "type 55400, expected 55332"),
        (
            file_of(announcement=WEATHER, attestation=attest(KEY, SEED, announced(), ("0",) * 20)),
            "of event",
        ),
        (b'{"announcement": 5}', "announcement: hex"),
        (b'{"announcement": "xx"}', "announcement: hex"),
        (b'{"announcement": "00", "announcement": "00"}', "twice"),
        (b'{"attestations": "00"}', "a list of two"),
        (b'{"attestations": [1, 2]}', "attestations: hex"),
        (b"fdd824", "cut short"),
        (WEATHER.encode()[:-1].hex().encode(), "cut short"),
    ],
)
def test_verify_says_what_is_wrong(text, names):
    verdict = judge(text, None)
    assert names in str(verdict.reason)
    assert verdict.details == {}


def test_the_command_says_it(tmp_path):
    file = tmp_path / "dlc.json"
    file.write_bytes(file_of(announcement=WEATHER, attestation=SUN))
    app = typer.Typer()
    app.command()(verify)
    result = CliRunner().invoke(app, [str(file)], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "attestation: valid\n")


# The gateway


async def test_events_are_served(tmp_path, store):
    for number in range(3):
        store.announce(announced(f"e-{number}", maturity=ROUND + 1 + number))
    done = attested(store, 83_744)
    async with gateway_on(tmp_path, dlc=tmp_path) as gateway:
        response = await gateway.get("/v1/dlc/announcements", limit=2)
        found = routes.AnnouncementsOut.model_validate_json(response.content).announcements
        assert [row.event_id for row in found] == ["e-2", "e-1"]
        rest = await gateway.get("/v1/dlc/announcements", before_s=found[-1].maturity_s)
        assert [row["event_id"] for row in rest.json()["announcements"]] == ["e-0", EVENT]
        one = (await gateway.get(f"/v1/dlc/announcements/{EVENT}")).json()
        assert Announcement.decode(bytes.fromhex(one["announcement"])) == announced()
        response = await gateway.get(f"/v1/dlc/attestations/{EVENT}")
        outcome = routes.AttestationOut.model_validate_json(response.content)
        assert Attestation.decode(bytes.fromhex(outcome.attestation)) == done
        assert judge(response.content, None).details["outcome"] == 83_744
        problem(await gateway.get("/v1/dlc/attestations/e-1"), 404, "not-found")
        problem(await gateway.get("/v1/dlc/announcements/nothing"), 404, "not-found")
        for name in ("..%2f..%2fledger", "%2e%2e", "a%20b"):
            response = await gateway.get(f"/v1/dlc/announcements/{name}")
            assert response.status_code in (404, 422)
        attestation_file(tmp_path, EVENT).write_text('{"attestation": "00", "announcement": "00"}')
        problem(await gateway.get(f"/v1/dlc/attestations/{EVENT}"), 503, "no-storage")
        announcement_file(tmp_path, "e-1").write_text("{")
        problem(await gateway.get("/v1/dlc/announcements/e-1"), 503, "no-storage")


async def test_a_gateway_without_events_says_so(tmp_path):
    async with gateway_on(tmp_path) as gateway:
        response = await gateway.get("/v1/dlc/announcements")
        assert "[api] dlc" in problem(response, 404, "not-found")
