"""One person's work on one cluster: the settings, the files of the current folder, and the clients of AWS."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slurm_cluster import files
from slurm_cluster.aws import clients, jwt_secret, script_bucket, security_groups, stack, uqle_instance
from slurm_cluster.config import parameters, regions, temp_config
from slurm_cluster.config.settings import UQLE, get_file_paths, get_setting
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef


class Project:
    """What the tasks share; each part is read when it is first asked for, the files each time.

    Args:
        settings: those of invoke.yaml and the environment.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.cluster = parameters.validate_cluster_name(get_setting(settings, "cluster_name"))
        self.temp_config, self.parameter_file, self.config_file, self.handover_file = get_file_paths(settings)

    @functools.cached_property
    def region(self) -> str:
        """The region that everything happens in."""
        return regions.resolve_region(self.parameter_file, self.temp_config)

    @functools.cached_property
    def account(self) -> str:
        """The number of the AWS account."""
        return clients.get_account_id(self.client("sts"))

    @functools.cache  # noqa: B019 - a project lives as long as its task
    def client(self, service: str) -> Any:
        """Give the client of a service in the region."""
        return clients.make_client(service, self.region)

    def given(self) -> dict[str, Any]:
        """Give what config-parameters.json has, without what is empty or a placeholder; nothing where it is not there."""
        return (
            parameters.filter_filled(parameters.read_parameters(self.parameter_file))
            if files.exists(self.parameter_file)
            else {}
        )

    @property
    def key_pair(self) -> str:
        """The name of the key pair: of the files where they name one, else of the settings, else the cluster's."""
        filled = self.given().get("SSH_KEY_PAIR")
        if not filled and files.exists(self.temp_config):
            filled = temp_config.read_temp_config(self.temp_config).key_pair
        name = filled or get_setting(self.settings, "key_pair") or self.cluster
        faults = parameters.validate_value("SSH_KEY_PAIR", name)
        if faults or "/" in str(name):
            raise ClusterError(
                f"The key pair is {parameters.shorten(name)}, which cannot be the name of one and of a file."
            )
        return str(name)

    def ssh_from(self, told: str = "") -> str:
        """Give who may reach SSH: as told, else of the settings, else of config-parameters.json.

        Raises:
            ClusterError: nobody said, or what was said is not a source of a rule.
        """
        wanted = told or get_setting(self.settings, "ssh_from") or self.given().get("SSH_FROM")
        if not wanted:
            raise ClusterError(
                "Nobody may reach SSH yet: say who, as in --ssh-from 203.0.113.7/32 for that one address."
            )
        faults = parameters.validate_value("SSH_FROM", wanted)
        if faults:
            raise ClusterError(f"{faults[0]}.")
        return str(wanted)

    @property
    def public_subnet(self) -> str | None:
        """The public subnet that the files name, if they do."""
        if files.exists(self.temp_config):
            return temp_config.read_temp_config(self.temp_config).public_subnet
        subnet = self.given().get("PUBLIC_SUBNET")
        return subnet if subnet and not parameters.validate_value("PUBLIC_SUBNET", subnet) else None

    @property
    def wizards_subnet(self) -> str | None:
        """The public subnet of temp-config.yml where the wizard made it, and not somebody before the cluster."""
        return (
            temp_config.read_temp_config(self.temp_config).public_subnet
            if temp_config.is_from_wizard(self.temp_config)
            else None
        )

    @property
    def subnets(self) -> set[str]:
        """The subnets that the files name."""
        named = {str(value) for name, value in self.given().items() if name.endswith("_SUBNET")}
        if files.exists(self.temp_config):
            configured = temp_config.read_temp_config(self.temp_config)
            named |= {configured.public_subnet, configured.private_subnet}
        return named

    @property
    def literal_key(self) -> str:
        """The JWT key where config-parameters.json holds it itself, as the original README had it; else nothing."""
        key = str(self.given().get(parameters.KEY_PARAMETER, ""))
        return key if key and parameters.is_literal_key(key) else ""

    @property
    def given_secret(self) -> str:
        """The ARN of a secret of the person's own in config-parameters.json; else nothing."""
        key = str(self.given().get(parameters.KEY_PARAMETER, ""))
        return (
            key
            if key
            and not parameters.is_literal_key(key)
            and not jwt_secret.is_cluster_secret(key, self.secret)
            else ""
        )

    def jwt_key(self) -> str:
        """Give the JWT key itself, from where config-parameters.json says it is; it is never to be shown."""
        return self.literal_key or jwt_secret.read_key(
            self.client("secretsmanager"), self.given_secret or self.secret
        )

    @property
    def bucket(self) -> str:
        """The bucket of the boot scripts."""
        return script_bucket.get_bucket_name(self.account, self.region)

    @property
    def secret(self) -> str:
        """The name of the secret with the JWT key."""
        return jwt_secret.get_secret_name(self.cluster, self.region)

    @property
    def policy(self) -> str:
        """The ARN of the policy by which the head node reads it."""
        return jwt_secret.get_policy_arn(self.cluster, self.account, self.region)

    def uqle_settings(self) -> uqle_instance.InstanceSettings:
        """Give the settings of the UQLE instance, checked."""
        instance_type, volume_gib, mount_point = (get_setting(self.settings, "uqle", name) for name in UQLE)
        return uqle_instance.validate_settings(instance_type, volume_gib, mount_point, self.key_pair)

    @functools.cache  # noqa: B019
    def place(self) -> uqle_instance.LaunchTarget:
        """Give the place of the UQLE instance: the head node's neighbourhood."""
        cloudformation, ec2 = self.client("cloudformation"), self.client("ec2")
        found, group = clients.run_concurrently(
            lambda: stack.require_cluster(cloudformation, self.cluster),
            lambda: security_groups.get_head_node_group_id(cloudformation, self.cluster),
        )
        head_node = stack.get_output(found, "HeadNodeInstanceID")
        subnet, spent = clients.run_concurrently(
            lambda: uqle_instance.get_subnet_id(ec2, head_node),
            lambda: uqle_instance.read_used_token(ec2, group),
        )
        file_system = stack.get_output(found, "EFSIds").split(",")[0]
        return uqle_instance.LaunchTarget(
            self.cluster, self.region, found["StackId"], group, subnet, file_system, spent
        )

    @functools.cache  # noqa: B019
    def before_launch(self) -> tuple[uqle_instance.LaunchTarget, InstanceTypeDef | None, str]:
        """Give the place of the UQLE instance, the instance where there is one, and the image for one, all asked at once.

        Raises:
            ClusterError: there is nothing to launch it into, or not its key pair.
        """
        from slurm_cluster.aws import key_pair  # it loads cryptography, which other tasks do without

        settings, ec2, ssm = self.uqle_settings(), self.client("ec2"), self.client("ssm")
        place, found, key, image = clients.run_concurrently(
            self.place,
            lambda: uqle_instance.find_instance(ec2, self.cluster),
            lambda: key_pair.find_key_pair(ec2, settings.key_pair),
            lambda: uqle_instance.get_ubuntu_image_id(ssm),
        )
        if not found and key is None:
            raise key_pair.make_missing_error(settings.key_pair)
        return place, found, image

    def found_parameters(self) -> dict[str, str]:
        """Give the parameters as the steps before made them.

        Raises:
            ClusterError: one of these steps was not done.
        """
        network = temp_config.read_temp_config(self.temp_config)
        found = {
            "AWS_REGION": network.region,
            "SSH_KEY_PAIR": network.key_pair,
            "PRIVATE_SUBNET": network.private_subnet,
            "PUBLIC_SUBNET": network.public_subnet,
            "CLUSTER_NAME": self.cluster,
        }
        given = self.given()
        if not script_bucket.has_custom_scripts(given, self.bucket):
            scripts = script_bucket.get_script_uris(script_bucket.FOLDER, self.bucket, self.cluster)
            if script_bucket.find_missing_objects(self.client("s3"), list(scripts.values())):
                raise ClusterError(
                    f"The boot scripts are not in s3://{self.bucket}: run `invoke upload-bootstrap` first."
                )
            found |= {**scripts, "BOOTSTRAP_BUCKET": self.bucket}
        if not self.literal_key and not self.given_secret:
            secret = jwt_secret.find_secret_arn(self.client("secretsmanager"), self.secret)
            if not secret or not jwt_secret.policy_exists(self.client("iam"), self.policy):
                raise ClusterError(
                    "The JWT key or the policy to read it is not there: run `invoke create-jwt-key` first."
                )
            found |= {"SLURM_JWT_KEY": secret, "SLURM_JWT_POLICY": self.policy}
        return found
