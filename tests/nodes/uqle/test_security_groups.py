"""The security groups allow only the intended connections, and `verify` works through them."""

import re
import socket

import pytest

from slurm_cluster.aws import security_groups
from tests.nodes.support.machine import run_on_host
from tests.nodes.support.network import OPERATOR_ADDRESS, NetworkInterface

# `reboot`: the UQLE machine reboots meanwhile, because these tests do not need it.
pytestmark = [pytest.mark.xdist_group("uqle"), pytest.mark.usefixtures("reboot")]

LONG_TIMEOUT = 30  # seconds for an expected answer, because other machines boot at the same time
TIMED_OUT = "timed out"


def get_status(namespace: str, url: str, timeout: int = 3) -> str:
    """Return the HTTP status of a request from a network namespace, or that it timed out."""
    curl = ["curl", "--silent", "--max-time", str(timeout), "--output", "/dev/null"]
    curl += ["--write-out", "%{http_code}", "--noproxy", "*"]
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    result = run_on_host(*prefix, *curl, url, check=False)
    return TIMED_OUT if result.returncode == 28 else result.stdout


def test_allow_only_members(account, connected_cluster):
    url, head_node = connected_cluster.rest_api_url, connected_cluster.head_node
    interface = NetworkInterface(account.network, account.uqle_instance["SubnetId"])
    try:
        assert get_status(interface.namespace, url) == TIMED_OUT
        assert get_status("", url) == TIMED_OUT  # the operator, who may only use SSH
        # As a member, the same interface connects: so it was the security group that blocked it.
        interface.join_security_group(account.head_group_id)
        assert get_status(interface.namespace, url, LONG_TIMEOUT) == "401"
        listening = head_node.nsenter("ss", "-ltnH", f"src {head_node.address} or src 0.0.0.0").stdout
        assert listening.count(":8082") == 1
    finally:
        interface.delete()


def test_block_uqle_machine_without_inbound_rule(account, connected_cluster, uqle_address):
    namespace, url = f"m{uqle_address}", connected_cluster.rest_api_url
    assert get_status(namespace, url, LONG_TIMEOUT) == "401"
    assert security_groups.remove_self_rule(account.ec2, account.head_group_id)
    account.network.apply_security_groups()
    try:
        assert get_status(namespace, url) == TIMED_OUT
    finally:
        security_groups.add_self_rule(account.ec2, account.head_group_id)
        account.network.apply_security_groups()
    assert get_status(namespace, url, LONG_TIMEOUT) == "401"


def test_allow_ssh_only_from_operator(account, connected_cluster):
    server = connected_cluster.head_node.address, 22

    def is_ssh_reachable(source: str, timeout: int) -> bool:
        try:
            with socket.create_connection(server, timeout=timeout, source_address=(source, 0)) as connection:
                return connection.recv(4) == b"SSH-"
        except TimeoutError:
            return False

    other_address = "198.51.100.8"
    run_on_host("ip", "address", "add", f"{other_address}/32", "dev", "lo")
    try:
        assert is_ssh_reachable(OPERATOR_ADDRESS, LONG_TIMEOUT)
        assert not is_ssh_reachable(other_address, 3)
    finally:
        run_on_host("ip", "address", "delete", f"{other_address}/32", "dev", "lo")


def test_verify_with_url(connected_cluster, operator, uqle_address, aws_environment):
    """`verify --url` works where the URL can be reached. Elsewhere the error suggests the tunnel."""
    url = connected_cluster.rest_api_url
    command = operator.build_task_command("verify", "--url", url)
    namespace = f"--net=/run/netns/m{uqle_address}"
    # The emulated AWS is not on localhost there, so it needs an exception from the proxy.
    environment = aws_environment | dict.fromkeys(("no_proxy", "NO_PROXY"), "*")
    output = operator.run("nsenter", namespace, *command, **environment).stdout
    assert "COMPLETED, exit status 0" in output
    output = operator.run_task("verify", "--url", url, check=False)
    assert re.search("No route: .* did not respond within", output)
    assert "Leave out --url to use a tunnel" in output


def test_verify_through_head_node(account, connected_cluster, operator):
    """Without a running UQLE machine, `verify` connects through the head node."""
    instance_id = account.uqle_instance["InstanceId"]
    account.ec2.stop_instances(InstanceIds=[instance_id])
    try:
        assert "COMPLETED, exit status 0" in operator.run_task("verify")
    finally:
        account.ec2.start_instances(InstanceIds=[instance_id])
        account.network.forward_public_addresses()  # the instance has a new public address
