"""A cluster and its UQLE machine as `invoke up` leaves them in the emulated AWS, and machines that boot in their places."""

import base64
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import yaml

from slurm_cluster.aws import stack
from tests.nodes.cluster import NAME, REPOSITORY, SCRIPTS, Addresses, ComputeNode, HeadNode, Node, root
from tests.nodes.machine import Completed, host
from tests.nodes.uqle import virtual_machine
from tests.nodes.uqle.network import PERSON, REFUSE, Network, Stranger, nft
from tests.nodes.uqle.services import LISTING, NAME_SERVER, FileServer, MetadataService, mount_tools
from tests.nodes.uqle.virtual_machine import ABOUT_TO_CONFIGURE, ABOUT_TO_MOUNT, MAC, VirtualMachine

REGION = "eu-west-2"
# The ssh of a person who says yes to a new host; it leaves the known hosts and the settings of this machine's user alone.
SSH = """#!/bin/sh
exec /usr/bin/{name} -F none -o UserKnownHostsFile=/run/known_hosts -o StrictHostKeyChecking=accept-new "$@"
"""

AWS = "[default]\nregion = {region}\nendpoint_url = {AWS_ENDPOINT_URL}\naws_access_key_id = {AWS_ACCESS_KEY_ID}\n"
AWS += "aws_secret_access_key = {AWS_SECRET_ACCESS_KEY}\n"


class Person:
    """A person who runs the tasks in a folder of their own, with the real ssh.

    Args:
        folder: that one.

    """

    def __init__(self, folder: Path) -> None:
        self.folder, programs = folder, Path("/run/bin")
        programs.mkdir()
        for name in "ssh", "scp":
            Path(programs, name).write_text(SSH.format(name=name))
            Path(programs, name).chmod(0o755)
        self.private_key = f"{os.environ['HOME']}/.ssh/{NAME}.pem"
        self.environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}

    def run(self, *command: str, check: bool = True, **environment: str) -> Completed:
        """Run a command."""
        return host(*command, check=check, timeout=600, cwd=self.folder, env=self.environment | environment)

    def command(self, *task: str) -> list[str]:
        """Give the command line of a task."""
        return [str(Path(sys.executable).with_name("invoke")), "--search-root", str(REPOSITORY), *task]

    def invoke(self, *task: str, check: bool = True, **environment: str) -> str:
        """Run a task, which succeeds unless told otherwise, and give what it says."""
        done = self.run(*self.command(*task), check=check, **environment)
        assert check or done.returncode == 1, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout


@pytest.fixture(scope="session")
def person(aws: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("work"))


class Account(NamedTuple):
    """What `invoke up` made, as AWS knows it."""

    ec2: Any
    network: Network
    head: dict[str, Any]
    head_group: str
    compute: dict[str, Any]
    uqle: dict[str, Any]
    user_data: bytes
    file_server: str
    file_server_address: str
    public_key: str


@pytest.fixture(scope="session")
def account(person: Person) -> Iterator[Account]:
    person.invoke("up", "--yes", "--ssh-from", f"{PERSON}/32")
    ec2, cloudformation, efs = (
        boto3.client(name, region_name=REGION) for name in ("ec2", "cloudformation", "efs")
    )
    made = stack.require_cluster(cloudformation, NAME)
    instances = [i for page in ec2.describe_instances()["Reservations"] for i in page["Instances"]]
    [head] = [i for i in instances if i["InstanceId"] == stack.get_output(made, "HeadNodeInstanceID")]
    [uqle] = [i for i in instances if {"Key": "slurm-cluster", "Value": NAME} in i["Tags"]]
    file_system = stack.get_output(made, "EFSIds")
    [target] = efs.describe_mount_targets(FileSystemId=file_system)[
        "MountTargets"
    ]  # in the compute nodes' subnet
    fleet = stack.find_resource_id(cloudformation, NAME, "ComputeSecurityGroup")
    compute = ec2.create_network_interface(SubnetId=target["SubnetId"], Groups=[fleet])["NetworkInterface"]
    given = ec2.describe_instance_attribute(InstanceId=uqle["InstanceId"], Attribute="userData")["UserData"][
        "Value"
    ]
    [key] = ec2.describe_key_pairs(KeyNames=[NAME], IncludePublicKey=True)["KeyPairs"]
    name = f"{file_system}.efs.{REGION}.amazonaws.com"
    network = Network(ec2)
    mount_tools(root("tools"), root("uqle"))
    network.resolve(
        {i["PrivateDnsName"]: i["PrivateIpAddress"] for i in (head, uqle)} | {name: target["IpAddress"]}
    )
    network.open_gateway()
    yield Account(
        ec2,
        network,
        head,
        stack.find_resource_id(cloudformation, NAME, "HeadNodeSecurityGroup") or "",
        compute,
        uqle,
        base64.b64decode(given),
        name,
        target["IpAddress"],
        key["PublicKey"],
    )
    network.stop()


@pytest.fixture(scope="session")
def metadata(account: Account) -> Iterator[MetadataService]:
    """EC2's metadata service, as it answers the UQLE machine."""
    uqle = account.uqle
    name, address = uqle["PrivateDnsName"], uqle["PrivateIpAddress"]
    interface = {"device-number": "0", "mac": MAC, "local-ipv4s": address, "local-hostname": name}
    tree = {
        "user-data": account.user_data,
        "meta-data": {
            "ami-id": uqle["ImageId"],
            "hostname": name,
            "instance-id": uqle["InstanceId"],
            "instance-type": uqle["InstanceType"],
            "local-hostname": name,
            "local-ipv4": address,
            "mac": MAC,
            "network": {"interfaces": {"macs": {MAC: interface}}},
            "placement": {"availability-zone": f"{REGION}a", "region": REGION},
            "public-keys": {LISTING: f"0={NAME}", "0": {"openssh-key": account.public_key}},
        },
        "dynamic": {
            "instance-identity": {
                "document": f'{{"region": "{REGION}", "instanceId": "{uqle["InstanceId"]}"}}'
            }
        },
    }
    service = MetadataService(tree)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def file_server(account: Account) -> Iterator[FileServer]:
    server = FileServer(account.network.plug_in(account.file_server_address))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def uqle_network(account: Account) -> str:
    """The UQLE machine's address, with its groups around it."""
    address: str = account.uqle["PrivateIpAddress"]
    account.network.plug_in(address)
    return address


@pytest.fixture(scope="session")
def pool() -> Iterator[ThreadPoolExecutor]:
    """What waits for a machine while the tests that do without it have their turn."""
    with ThreadPoolExecutor() as pool:
        yield pool


class Boot(NamedTuple):
    """A virtual machine that boots, and its twin, which goes on from before it mounts and has no file server."""

    machine: VirtualMachine
    twin: Future[VirtualMachine]
    network: Stranger  # the twin's

    def booted_twin(self) -> Iterator[VirtualMachine]:
        """Give the twin when it has booted, and take it away afterwards."""
        twin = self.twin.result()
        twin.wait_until_booted()
        yield twin
        twin.destroy()


@pytest.fixture(scope="session")
def booting(
    pool: ThreadPoolExecutor,
    account: Account,
    uqle_network: str,
    metadata: MetadataService,
    file_server: FileServer,
) -> Iterator[Boot]:
    """The first boot. The file server's security group keeps the twin out.

    What comes before cloud-init knows nothing of the account, and is saved for all runs.
    """
    stranger = Stranger(account.network, account.uqle["SubnetId"])
    content = sha256(Path(virtual_machine.__file__).read_bytes()).hexdigest()
    started = root("uqle") / f"started-{content[:12]}"
    machine = VirtualMachine("machine", f"m{uqle_network}", started if started.exists() else None)

    def boot() -> VirtualMachine:
        if not started.exists():
            for other in started.parent.glob("started-*"):  # of another version
                other.unlink()
            machine.save(ABOUT_TO_CONFIGURE, started)
        return machine.twin(ABOUT_TO_MOUNT, "first-boot", stranger.namespace)

    yield Boot(machine, pool.submit(boot), stranger)
    machine.destroy()


@pytest.fixture(scope="session")
def machine(booting: Boot) -> VirtualMachine:
    """The virtual machine after its first boot."""
    booting.twin.result()
    booting.machine.wait_until_booted()
    return booting.machine


@pytest.fixture(scope="session")
def rebooting(pool: ThreadPoolExecutor, account: Account, machine: VirtualMachine) -> Boot:
    """A later boot of the machine, which left a file on the share. Its twin is let in, and its connections are refused."""
    member = Stranger(account.network, account.uqle["SubnetId"])
    member.join(account.head_group)
    nft(REFUSE.format(address=account.file_server_address), member.namespace)
    machine.shell(
        "echo before the reboot >/shared/kept; stat -c %Y /var/log/apt/history.log >/shared/installed"
    )
    before = machine.reboot()

    def boot() -> VirtualMachine:
        twin = machine.twin(ABOUT_TO_MOUNT, "later-boot", member.namespace)
        machine.wait_until_booted(before)
        return twin

    return Boot(machine, pool.submit(boot), member)


class Connected(NamedTuple):
    """The two nodes of the cluster."""

    head: HeadNode
    compute: ComputeNode

    @property
    def url(self) -> str:
        return f"http://{self.head.address}:8082"


def fetch_and_run(node: Node, action: str, tree: dict[str, Any], aws: dict[str, str]) -> None:
    """Run a custom action as ParallelCluster does: the script from its URI, with its arguments."""
    section = tree["HeadNode"] if node.node_type == "HeadNode" else tree["Scheduling"]["SlurmQueues"][0]
    given = section["CustomActions"][action]
    script = f"{SCRIPTS}/{action}"
    node.write("/root/.aws/config", AWS.format(region=REGION, **aws))
    node.run("mkdir", "-p", SCRIPTS)
    node.run("aws", "s3", "cp", given["Script"], script, HOME="/root")
    node.run("chmod", "+x", script)
    node.run(script, *given.get("Args", []), HOME="/root")


@pytest.fixture(scope="session")
def connected(
    booting: object, account: Account, file_server: FileServer, person: Person, aws: dict[str, str]
) -> Iterator[Connected]:
    """The cluster, set up while the virtual machine boots."""
    addresses = Addresses(account.head["PrivateIpAddress"], account.compute["PrivateIpAddress"])
    tree = yaml.safe_load((person.folder / "config.yml").read_text())
    head = HeadNode(addresses, [root("trixie")], {"/shared": file_server.share})
    try:
        compute = ComputeNode(addresses, [root("trixie")], head)
        try:
            account.network.filter(*addresses)
            for node in head, compute:
                node.write("/etc/resolv.conf", f"nameserver {NAME_SERVER}\n")
            head.write("/home/ubuntu/.ssh/authorized_keys", account.public_key)
            fetch_and_run(head, "OnNodeStart", tree, aws)
            head.configure()
            fetch_and_run(head, "OnNodeConfigured", tree, aws)
            fetch_and_run(compute, "OnNodeStart", tree, aws)
            compute.configure()
            fetch_and_run(compute, "OnNodeConfigured", tree, aws)
            yield Connected(head, compute)
        finally:
            compute.destroy()
    finally:
        head.destroy()
