"""What the security groups allow on the network between the machines, and nothing else; the ways of `verify` through them."""

import socket

import pytest

from slurm_cluster.aws import security_groups
from tests.nodes.machine import host
from tests.nodes.uqle.network import PERSON, Stranger

pytestmark = [
    pytest.mark.xdist_group("uqle"),
    pytest.mark.usefixtures("rebooting"),
]  # none of it goes through that machine


LONG = 30  # seconds in which something comes back even while machines boot beside it


def status_from(namespace: str, url: str, seconds: int = 3) -> str:
    """Give the HTTP status that a machine of the network gets, or why it gets none."""
    curl = [
        "curl",
        "--silent",
        "--max-time",
        str(seconds),
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]
    curl += ["--noproxy", "*"]
    where = ["ip", "netns", "exec", namespace] if namespace else []
    done = host(*where, *curl, url, check=False)
    return {0: done.stdout, 28: "nothing comes back"}.get(done.returncode, done.stdout)


def test_what_the_groups_allow_and_nothing_else_gets_through(account, connected):
    stranger = Stranger(account.network, account.uqle["SubnetId"])
    try:
        assert status_from(stranger.namespace, connected.url) == "nothing comes back"
        assert status_from("", connected.url) == "nothing comes back"  # the person, who may reach SSH alone
        # The same machine gets through as soon as it is a member: it is the group that kept it out.
        stranger.join(account.head_group)
        assert status_from(stranger.namespace, connected.url, LONG) == "401"
        listening = connected.head.enter("ss", "-ltnH", f"src {connected.head.address} or src 0.0.0.0").stdout
        assert listening.count(":8082") == 1
    finally:
        stranger.remove()


def test_without_the_groups_rule_even_the_uqle_machine_does_not_get_through(account, connected, uqle_network):
    namespace = f"m{uqle_network}"
    assert status_from(namespace, connected.url, LONG) == "401"
    assert security_groups.remove_self_rule(account.ec2, account.head_group)
    account.network.filter()
    try:
        assert status_from(namespace, connected.url) == "nothing comes back"
    finally:
        security_groups.add_self_rule(account.ec2, account.head_group)
        account.network.filter()
    assert status_from(namespace, connected.url, LONG) == "401"


def test_ssh_is_for_the_person_alone(account, connected):
    def greets(source: str, seconds: int) -> bool:
        try:
            with socket.create_connection(
                (connected.head.address, 22), timeout=seconds, source_address=(source, 0)
            ) as ssh:
                return ssh.recv(4) == b"SSH-"
        except TimeoutError:
            return False

    other = "198.51.100.8"
    host("ip", "address", "add", f"{other}/32", "dev", "lo")
    try:
        assert greets(PERSON, LONG)
        assert not greets(other, 3)
    finally:
        host("ip", "address", "delete", f"{other}/32", "dev", "lo")


def test_verify_takes_the_url_of_a_port_that_is_reached_and_says_of_another_what_to_do(
    connected, person, uqle_network, aws
):
    task = person.command("verify", "--url", connected.url)
    aws = aws | dict.fromkeys(
        ("no_proxy", "NO_PROXY"), "*"
    )  # which is no longer at an address of this machine
    said = person.run("nsenter", f"--net=/run/netns/m{uqle_network}", *task, **aws).stdout
    assert "COMPLETED, exit status 0" in said
    said = person.invoke("verify", "--url", connected.url, check=False)
    assert "No route: nothing comes back" in said
    assert "leave --url out for a tunnel" in said


def test_verify_goes_through_the_head_node_where_no_uqle_machine_runs(account, connected, person):
    account.ec2.stop_instances(InstanceIds=[account.uqle["InstanceId"]])
    try:
        assert "COMPLETED, exit status 0" in person.invoke("verify")
    finally:
        account.ec2.start_instances(InstanceIds=[account.uqle["InstanceId"]])
        account.network.open_gateway()  # to another public address
