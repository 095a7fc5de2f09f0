"""Who is let in, who is refused and for what reason, and what other machines may ask; with Flower's own processes."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from ngpd_fl.deploy.authority import Authority, certificate_pem, new_key, private_pem
from ngpd_fl.deploy.folders import NodeFolder, SuperLinkFolder, make_keys
from ngpd_fl.flower.launcher.superlink_client import environment_of
from tests.support.deployment import Deployment, family, own_address, wait_for
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc"),
]


def test_who_is_in_the_folder_of_public_keys_is_admitted_and_nobody_else(place: Deployment, tmp_path: Path) -> None:
    shutil.copytree(place.folder / "ca", tmp_path / "ca")
    make_keys(tmp_path, ["127.0.0.1"], 5, 30)  # the same authority, and a key that the SuperLink does not know
    listed = place.folder / "superlink" / "nodes" / "node4.pub"
    log = place.folder / "superlink.log"
    with place.until_here():
        service = place.supernode("node4", folder=tmp_path / "node4")
        service.wait_for("[code: 2004] Failed to activate SuperNode")
        service.wait_for("node4 ended with code 1; next start in")
        assert "SuperNode ID" not in service.said()
        shutil.copy(tmp_path / "superlink" / "nodes" / "node4.pub", listed)
        service.wait_for("SuperNode ID")
        assert "superlink takes 5 nodes" in log.read_text()
        refused = service.said().count("Failed to activate")
        listed.unlink()
        wait_for(lambda: log.read_text().count("superlink takes 4 nodes") == 2, 60, log.read_text)
        wait_for(lambda: service.said().count("Failed to activate") > refused, 120, service.said)


def flowers_own_words(address: str, files: NodeFolder, tmp_path: Path) -> str:
    """What flower-supernode itself says, without the look that the service takes before it starts one."""
    words = ["flower-supernode", "--superlink", address, "--root-certificates", str(files.authority)]
    words += ["--auth-supernode-private-key", str(files.auth_key), "--max-retries", "0"]
    log = tmp_path / "log"
    with log.open("wb") as file:  # no pipe: its SuperExec may keep it open
        process = subprocess.Popen(
            [*words, "--port", str(free_port())],
            env=environment_of(tmp_path),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        assert process.wait(400) != 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return log.read_text(errors="replace")


def test_a_supernode_of_another_authority_stays_out(place: Deployment, tmp_path: Path) -> None:
    make_keys(tmp_path, ["127.0.0.1"], 1, 30)
    with place.until_here():
        service = place.supernode("stranger", folder=tmp_path / "node0")
        service.wait_for(f"node0 does not trust the SuperLink at {place.address}: unable to get local issuer")
    found = flowers_own_words(place.address, NodeFolder.open(tmp_path / "node0"), tmp_path)
    assert "CERTIFICATE_VERIFY_FAILED" in found and "SuperNode ID" not in found


def test_a_certificate_that_has_ended_is_not_trusted(tmp_path: Path) -> None:
    with Deployment(tmp_path, 1) as place:
        files = SuperLinkFolder.open(tmp_path / "superlink")
        authority = Authority.read((tmp_path / "ca" / "ca.key").read_bytes(), files.authority.read_bytes())
        key = new_key()
        files.key.write_bytes(private_pem(key))
        certificate = authority.sign("superlink", key.public_key(), ["127.0.0.1"], days=-1 / 1440)
        files.certificate.write_bytes(certificate_pem(certificate))
        link = place.superlink()
        service = place.supernode("node0")
        service.wait_for(f"node0 does not trust the SuperLink at {place.address}: certificate has expired")
        found = flowers_own_words(place.address, NodeFolder.open(tmp_path / "node0"), tmp_path)
        assert "certificate has expired" in found and "SuperNode ID" not in found
        link.wait_for("superlink registers no nodes yet: this machine does not trust the SuperLink")
        assert "superlink takes" not in link.said()


def test_other_machines_can_give_no_orders(place: Deployment) -> None:
    if (address := own_address()) == "127.0.0.1":
        pytest.skip("this machine has no address but loopback")
    trusted = ssl.create_default_context(cafile=str(place.folder / "superlink" / "ca.crt"))

    def status(host: str, path: str) -> int:
        request = urllib.request.Request(f"https://{host}:{place.port}{path}", data=b"")
        try:
            with urllib.request.urlopen(request, context=trusted) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    orders = "/v1/control/list-nodes"
    assert status(address, orders) == 403 != status("127.0.0.1", orders)
    assert status(address, "/v1/fleet/pull-messages") == status("127.0.0.1", "/v1/fleet/pull-messages") != 403
    assert status(address, "/v1/runtime/acquire-task") == 403


def test_services_end_with_their_supervisor(place: Deployment) -> None:
    with place.until_here():
        service = place.supernode("node3")
        service.wait_for("SuperNode ID")
        home = place.folder / "node3" / "state" / "flower"
        assert len(family(home)) >= 3
        service.process.kill()
        service.process.wait()
        wait_for(lambda: family(home) == {}, 120, lambda: str(family(home)))
