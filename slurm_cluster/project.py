"""The settings, the files in the current folder, and the AWS clients, for one cluster."""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slurm_cluster import files
from slurm_cluster.config import parameters, temp_config
from slurm_cluster.config.settings import get_file_paths, get_setting
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import echo

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_efs import EFSClient
    from types_boto3_iam import IAMClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

    from slurm_cluster.aws.uqle_instance import InstanceSettings


ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "config.template.yml"


class CommandResult(Protocol):
    """The result of an external command, as invoke returns it.

    Args:
        exited: its exit status.
        stdout: its standard output.
        stderr: its standard error.
    """

    exited: int
    stdout: str
    stderr: str


def client_property(service: str) -> Any:
    """Return a property that is the client of a service in the project's region, made on first use."""

    def make_client(project: Project) -> Any:
        from slurm_cluster.aws import clients

        return clients.make_client(service, project.region)

    return functools.cached_property(make_client)


def refuse_to_run(command: str, **options: object) -> CommandResult:
    """Raise an error: the project was made without `run`, as in tests that run no external command."""
    raise ClusterError(f"This project cannot run `{command}` with {options}: it was made without `run`.")


class Project:
    """What the steps share: settings, files and clients. Each client is made on first use.

    boto3 is imported only where it is used, because `invoke render` does not need it.

    Args:
        settings: the settings of invoke.yaml and of INVOKE_ variables.
        run: runs an external command, given as one string, and returns its result; an empty one in a dry run.
        dry_run: whether nothing may be changed.
        task: the name of the task, for messages.
        read_only: whether the task changes nothing.
    """

    cloudformation: CloudFormationClient = client_property("cloudformation")
    dynamodb: DynamoDBClient = client_property("dynamodb")
    ec2: EC2Client = client_property("ec2")
    efs: EFSClient = client_property("efs")
    fsx: BaseClient = client_property("fsx")
    iam: IAMClient = client_property("iam")
    logs: CloudWatchLogsClient = client_property("logs")
    s3: S3Client = client_property("s3")
    secretsmanager: SecretsManagerClient = client_property("secretsmanager")
    service_quotas: ServiceQuotasClient = client_property("service-quotas")
    ssm: SSMClient = client_property("ssm")
    sts: STSClient = client_property("sts")

    def __init__(
        self,
        settings: Mapping[str, Any],
        run: Callable[..., CommandResult] = refuse_to_run,
        dry_run: bool = False,
        task: str = "TASK",
        read_only: bool = False,
    ) -> None:
        self.settings, self.run, self.dry_run = settings, run, dry_run
        self.task, self.read_only = task, read_only
        self.warnings: set[str] = set()
        self.cluster_name = parameters.validate_cluster_name(get_setting(settings, "cluster_name"))
        self.temp_config, self.parameter_file, self.config_file, self.handover_file = get_file_paths(settings)

    # --- Settings and files -------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Whether to hide progress."""
        return bool(self.settings.get("quiet"))

    def skip_for_dry_run(self, action: str) -> bool:
        """Return whether this is a dry run; if so, print what would be done."""
        if self.dry_run:
            echo(f"would {action}")
        return self.dry_run

    @property
    def shared_dir(self) -> str:
        """Where the nodes mount the shared file system, such as /shared."""
        path = get_setting(self.settings, "shared_dir")
        if not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", path):
            raise ClusterError(
                f"shared_dir is {path[:60]!r}. It must be a plain absolute path, such as /shared."
            )
        return path

    def warn(self, text: str) -> None:
        """Print a warning, once for each task."""
        if text not in self.warnings:
            self.warnings.add(text)
            echo(f"Warning: {text}", to=sys.stderr)

    @functools.cached_property
    def region(self) -> str:
        """The region of the cluster.

        Raises:
            ClusterError: no region is set, AWS does not have it, or the files and the environment name
                different regions and the task is not read-only.
        """
        from slurm_cluster.aws import clients
        from slurm_cluster.config import regions

        regions.refuse_unreadable_profile(os.environ)
        in_files = regions.read_file_region(self.parameter_file, self.temp_config)
        region = regions.resolve_region(
            in_files, os.environ, clients.get_session().region_name, clients.list_region_names()
        )
        conflict = regions.describe_conflict(in_files, os.environ, self.task)
        if conflict and not self.read_only:
            raise ClusterError(conflict)
        if conflict:
            self.warn(conflict)
        return region

    @property
    def template(self) -> Path:
        """The path of config.template.yml in the current folder, or else of this repository's."""
        own = Path(TEMPLATE.name)
        return own if files.exists(own) else TEMPLATE

    @property
    def folder_values(self) -> dict[str, Any]:
        """The values in config-parameters.json, if it exists, without empty ones and placeholders."""
        if not files.exists(self.parameter_file):
            return {}
        return parameters.filter_filled(parameters.read_parameters(self.parameter_file))

    @property
    def is_own_folder(self) -> bool:
        """Whether the files in the current folder are for this cluster, or for none yet."""
        return bool(self.folder_values.get("CLUSTER_NAME", self.cluster_name) == self.cluster_name)

    @property
    def filled_values(self) -> dict[str, Any]:
        """The values in config-parameters.json, unless they are another cluster's."""
        return self.folder_values if self.is_own_folder else {}

    @property
    def network(self) -> temp_config.TempConfig | None:
        """The values in temp-config.yml, if it exists, unless they are another cluster's."""
        if not files.exists(self.temp_config) or not self.is_own_folder:
            return None
        return temp_config.read_temp_config(self.temp_config)

    def refuse_other_folder(self) -> None:
        """Check that the current folder is not another cluster's. A read-only task only warns.

        Raises:
            ClusterError: config-parameters.json is another cluster's.
        """
        if self.is_own_folder:
            return
        other = self.folder_values["CLUSTER_NAME"]
        message = (
            f"{self.parameter_file} is for the cluster {parameters.sanitize(str(other))}, "
            f"and this command is for {self.cluster_name}.\n"
            f"Use a folder for each cluster. For {self.cluster_name}:\n"
            f"  mkdir -p ../{self.cluster_name} && cd ../{self.cluster_name}\n"
            f"  INVOKE_CLUSTER_NAME={self.cluster_name} invoke -r {shlex.quote(str(ROOT))} {self.task}"
        )
        if not self.read_only:
            raise ClusterError(message)
        self.warn(message)

    @property
    def key_pair(self) -> str:
        """The key pair's name: from INVOKE_KEY_PAIR, the files or the settings, else the cluster's name."""
        filled = os.environ.get("INVOKE_KEY_PAIR") or self.filled_values.get("SSH_KEY_PAIR")
        if not filled and self.network:
            filled = self.network.key_pair
        name = filled or get_setting(self.settings, "key_pair") or self.cluster_name
        if parameters.validate_value("SSH_KEY_PAIR", name) or "/" in str(name):
            raise ClusterError(
                f"{parameters.shorten(name)} cannot be the name of a key pair and of its file in ~/.ssh. "
                "Choose another name for the key pair."
            )
        return str(name)

    def get_ssh_from(self, flag: str = "") -> str:
        """Return the address range that may use SSH, from the flag, config-parameters.json or the settings.

        Raises:
            ClusterError: none is set, or it is not a CIDR or prefix list that a security group rule accepts.
        """
        ssh_from = flag or self.filled_values.get("SSH_FROM") or get_setting(self.settings, "ssh_from")
        if not ssh_from:
            raise ClusterError(
                "No address may use SSH yet. Pass --ssh-from 203.0.113.7/32, with your own address, "
                "or --ssh-from auto."
            )
        faults = parameters.validate_value("SSH_FROM", ssh_from)
        if faults:
            raise ClusterError(f"{faults[0]}.")
        return str(ssh_from)

    @property
    def public_subnet(self) -> str | None:
        """The id of the public subnet in temp-config.yml or config-parameters.json, if any."""
        if self.network:
            return self.network.public_subnet
        subnet = self.filled_values.get("PUBLIC_SUBNET")
        return subnet if subnet and not parameters.validate_value("PUBLIC_SUBNET", subnet) else None

    @property
    def wizard_subnet(self) -> str | None:
        """The id of the public subnet in temp-config.yml, if the wizard created the subnet."""
        if not self.network or not temp_config.is_from_wizard(self.temp_config):
            return None
        return self.network.public_subnet

    @property
    def subnets(self) -> set[str]:
        """The ids of all subnets in temp-config.yml and config-parameters.json."""
        subnets = {str(value) for name, value in self.filled_values.items() if name.endswith("_SUBNET")}
        if self.network:
            subnets |= {self.network.public_subnet, self.network.private_subnet}
        return subnets

    def get_uqle_settings(self) -> InstanceSettings:
        """Return the settings of the UQLE machine, validated."""
        from slurm_cluster.aws.uqle_instance import validate_settings

        return validate_settings(
            get_setting(self.settings, "uqle", "instance_type"),
            get_setting(self.settings, "uqle", "volume_gib"),
            get_setting(self.settings, "uqle", "mount_point"),
            self.key_pair,
        )

    # --- The JWT key ------------------------------------------------------------------------------------

    @property
    def literal_key(self) -> str:
        """The JWT key itself, if config-parameters.json holds it as the original README did; else empty."""
        key = str(self.filled_values.get(parameters.KEY_PARAMETER, ""))
        return key if key and parameters.is_literal_key(key) else ""

    @property
    def custom_secret_arn(self) -> str:
        """The ARN in config-parameters.json of a secret that create-jwt-key did not make; else empty."""
        from slurm_cluster.aws.jwt_secret import is_cluster_secret

        key = str(self.filled_values.get(parameters.KEY_PARAMETER, ""))
        is_own = parameters.is_literal_key(key) or is_cluster_secret(key, self.secret)
        return "" if is_own else key

    def read_jwt_key(self) -> str:
        """Return the JWT key from where config-parameters.json says it is. It must never be shown."""
        from slurm_cluster.aws.jwt_secret import read_key

        return self.literal_key or read_key(self.secretsmanager, self.custom_secret_arn or self.secret)

    # --- Names in AWS -----------------------------------------------------------------------------------

    @functools.cached_property
    def account(self) -> str:
        """The id of the AWS account."""
        return self.sts.get_caller_identity()["Account"]

    @property
    def bucket(self) -> str:
        """The name of the bucket for the boot scripts."""
        from slurm_cluster.aws.script_bucket import get_bucket_name

        return get_bucket_name(self.account, self.region)

    @property
    def secret(self) -> str:
        """The name of the secret that holds the JWT key."""
        return f"{self.cluster_name}-{self.region}-slurm-jwt-key"

    @property
    def policy(self) -> str:
        """The ARN of the policy that lets the head node read the secret."""
        from slurm_cluster.aws.jwt_secret import get_policy_arn

        return get_policy_arn(self.cluster_name, self.account, self.region)
