"""Fixtures: what `invoke up` creates in the emulated AWS, and machines that boot in their place."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import boto3
import pytest
import yaml

from slurm_cluster.aws import stack
from tests.nodes.support import virtual_machine as virtual_machine_module
from tests.nodes.support.cluster import (
    CLUSTER_NAME,
    REGION,
    ComputeNode,
    HeadNode,
    NodeAddresses,
    get_root_file_system,
)
from tests.nodes.support.network import (
    OPERATOR_ADDRESS,
    REFUSE_RULES,
    Network,
    NetworkInterface,
    load_nft_rules,
)
from tests.nodes.support.services import (
    FOLDER_LISTING,
    NAME_SERVER,
    FileServer,
    MetadataService,
    mount_tools,
)
from tests.nodes.support.uqle import Account, Boot, ConnectedCluster, Operator, download_and_run_action
from tests.nodes.support.virtual_machine import ABOUT_TO_CONFIGURE, ABOUT_TO_MOUNT, MAC, VirtualMachine


@pytest.fixture(scope="session")
def operator(aws_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def account(operator: Operator) -> Iterator[Account]:
    operator.run_task("up", "--yes", "--ssh-from", f"{OPERATOR_ADDRESS}/32")
    ec2, cloudformation, efs = (
        boto3.client(name, region_name=REGION) for name in ("ec2", "cloudformation", "efs")
    )
    cluster_stack = stack.require_cluster(cloudformation, CLUSTER_NAME)
    reservations = ec2.describe_instances()["Reservations"]
    instances = {i["InstanceId"]: i for reservation in reservations for i in reservation["Instances"]}
    head_instance = instances[stack.require_output(cluster_stack, "HeadNodeInstanceID")]
    uqle_tag = {"Key": "slurm-cluster", "Value": CLUSTER_NAME}
    [uqle_instance] = [instance for instance in instances.values() if uqle_tag in instance["Tags"]]
    uqle_id = uqle_instance["InstanceId"]
    user_data = ec2.describe_instance_attribute(InstanceId=uqle_id, Attribute="userData")["UserData"]["Value"]
    file_system_id = stack.require_output(cluster_stack, "EFSIds")
    [mount_target] = efs.describe_mount_targets(FileSystemId=file_system_id)["MountTargets"]
    compute_group_id = stack.find_resource_id(cloudformation, CLUSTER_NAME, "ComputeSecurityGroup")
    compute_interface = ec2.create_network_interface(
        SubnetId=mount_target["SubnetId"],  # the compute nodes' subnet
        Groups=[compute_group_id],
    )["NetworkInterface"]
    [key_pair] = ec2.describe_key_pairs(KeyNames=[CLUSTER_NAME], IncludePublicKey=True)["KeyPairs"]
    file_system_name = f"{file_system_id}.efs.{REGION}.amazonaws.com"
    network = Network(ec2)
    mount_tools(get_root_file_system("tools"))
    network.start_name_server(
        {
            head_instance["PrivateDnsName"]: head_instance["PrivateIpAddress"],
            uqle_instance["PrivateDnsName"]: uqle_instance["PrivateIpAddress"],
            file_system_name: mount_target["IpAddress"],
        }
    )
    network.forward_public_addresses()
    yield Account(
        ec2=ec2,
        network=network,
        head_instance=head_instance,
        head_group_id=stack.find_resource_id(cloudformation, CLUSTER_NAME, "HeadNodeSecurityGroup") or "",
        compute_interface=compute_interface,
        uqle_instance=uqle_instance,
        user_data=base64.b64decode(user_data),
        file_system_name=file_system_name,
        file_system_address=mount_target["IpAddress"],
        public_key=key_pair["PublicKey"],
    )
    network.stop()


@pytest.fixture(scope="session")
def metadata_service(account: Account) -> Iterator[MetadataService]:
    """EC2's metadata service, as the UQLE machine sees it."""
    uqle = account.uqle_instance
    name, address = uqle["PrivateDnsName"], uqle["PrivateIpAddress"]
    interface = {"device-number": "0", "mac": MAC, "local-ipv4s": address, "local-hostname": name}
    identity_document = f'{{"region": "{REGION}", "instanceId": "{uqle["InstanceId"]}"}}'
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
            "public-keys": {FOLDER_LISTING: f"0={CLUSTER_NAME}", "0": {"openssh-key": account.public_key}},
        },
        "dynamic": {"instance-identity": {"document": identity_document}},
    }
    service = MetadataService(tree)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def file_server(account: Account) -> Iterator[FileServer]:
    server = FileServer(account.network.connect_machine(account.file_system_address))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def uqle_address(account: Account) -> str:
    """The UQLE machine's address, connected and filtered by its security groups."""
    address: str = account.uqle_instance["PrivateIpAddress"]
    account.network.connect_machine(address)
    return address


@pytest.fixture(scope="session")
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for a machine, while tests that do not need it run."""
    with ThreadPoolExecutor() as thread_pool:
        yield thread_pool


@pytest.fixture(scope="session")
def first_boot(
    thread_pool: ThreadPoolExecutor,
    account: Account,
    uqle_address: str,
    metadata_service: MetadataService,
    file_server: FileServer,
) -> Iterator[Boot]:
    """The first boot. The file server's security group blocks the clone.

    The boot until cloud-init starts does not depend on the account, so its snapshot is cached for later runs.
    """
    clone_interface = NetworkInterface(account.network, account.uqle_instance["SubnetId"])
    version = sha256(Path(virtual_machine_module.__file__).read_bytes()).hexdigest()[:12]
    snapshot = get_root_file_system("uqle") / f"started-{version}"
    saved = snapshot if snapshot.exists() else None
    machine = VirtualMachine("machine", f"m{uqle_address}", get_root_file_system("uqle"), snapshot=saved)

    def boot() -> VirtualMachine:
        if not snapshot.exists():
            for old_snapshot in snapshot.parent.glob("started-*"):
                old_snapshot.unlink()
            machine.save_snapshot(ABOUT_TO_CONFIGURE, snapshot)
        return machine.clone(ABOUT_TO_MOUNT, "first-boot", clone_interface.namespace)

    yield Boot(machine, thread_pool.submit(boot), clone_interface)
    machine.destroy()


@pytest.fixture(scope="session")
def virtual_machine(first_boot: Boot) -> VirtualMachine:
    """The virtual machine after its first boot."""
    first_boot.clone.result()
    first_boot.machine.wait_until_booted()
    return first_boot.machine


@pytest.fixture(scope="session")
def reboot(thread_pool: ThreadPoolExecutor, account: Account, virtual_machine: VirtualMachine) -> Boot:
    """A later boot, with files on the share. The file server refuses the clone's connections."""
    clone_interface = NetworkInterface(account.network, account.uqle_instance["SubnetId"])
    clone_interface.join_security_group(account.head_group_id)
    load_nft_rules(REFUSE_RULES.format(address=account.file_system_address), clone_interface.namespace)
    virtual_machine.run_shell(
        "echo before the reboot >/shared/kept; stat -c %Y /var/log/apt/history.log >/shared/installed"
    )
    previous_boot_id = virtual_machine.reboot()

    def boot() -> VirtualMachine:
        clone = virtual_machine.clone(ABOUT_TO_MOUNT, "later-boot", clone_interface.namespace)
        virtual_machine.wait_until_booted(previous_boot_id)
        return clone

    return Boot(virtual_machine, thread_pool.submit(boot), clone_interface)


@pytest.fixture(scope="session")
def connected_cluster(
    first_boot: Boot,  # only to start it: the cluster is set up while the virtual machine boots
    account: Account,
    file_server: FileServer,
    operator: Operator,
    aws_environment: dict[str, str],
) -> Iterator[ConnectedCluster]:
    addresses = NodeAddresses(
        account.head_instance["PrivateIpAddress"], account.compute_interface["PrivateIpAddress"]
    )
    configuration = yaml.safe_load((operator.folder / "config.yml").read_text())
    layers = [get_root_file_system("trixie")]

    head_node = HeadNode(addresses, layers, {"/shared": file_server.share})
    try:
        compute_node = ComputeNode(addresses, layers, head_node)
        try:
            account.network.apply_security_groups(addresses.head, addresses.compute)
            head_node.write_file("/home/ubuntu/.ssh/authorized_keys", account.public_key)
            for node in head_node, compute_node:
                node.write_file("/etc/resolv.conf", f"nameserver {NAME_SERVER}\n")
            for node in head_node, compute_node:
                download_and_run_action(node, "OnNodeStart", configuration, aws_environment)
                node.configure()
                download_and_run_action(node, "OnNodeConfigured", configuration, aws_environment)
            yield ConnectedCluster(head_node, compute_node)
        finally:
            compute_node.destroy()
    finally:
        head_node.destroy()
