"""Corrections of moto: errors and a description that moto lacks, and an error that AWS would not report."""

from typing import Any

from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.efs.models import MountTarget
from moto.iam.access_control import PermissionResult
from moto.iam.exceptions import DeleteConflictException
from moto.iam.models import IAMBackend, iam_backends
from moto.s3.models import FakeBucket, s3_backends
from moto.s3.responses import S3Response


class SandboxIAMBackend(IAMBackend):
    """An IAM that does not delete an attached policy."""

    __module__ = IAMBackend.__module__  # moto derives the service's URLs from it

    def delete_policy(self, policy_arn: str) -> None:
        """Delete a policy, unless it is attached to a role, user or group."""
        if self.get_policy(policy_arn).attachment_count:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        super().delete_policy(policy_arn)


def head_bucket(self: Any) -> Any:
    """Answer 403 if the bucket does not belong to the expected account."""
    expected = self.headers.get("x-amz-expected-bucket-owner")
    owner = s3_backends.bucket_accounts.get(self.bucket_name, (None, expected))[1]
    return (403, {}, "") if expected and owner != expected else moto_head_bucket(self)


def set_network_interface(self: MountTarget, network_interface: NetworkInterface) -> None:
    """Describe the network interface of a mount target as EFS does.

    https://docs.aws.amazon.com/efs/latest/ug/API_CreateMountTarget.html
    """
    description = f"Mount target {self.mount_target_id} for file system {self.file_system_id}"
    network_interface.description = description
    moto_set_network_interface(self, network_interface)


moto_set_network_interface = MountTarget.set_network_interface
MountTarget.set_network_interface = set_network_interface
moto_head_bucket = S3Response.head_bucket
S3Response.head_bucket = head_bucket
# moto ignores the conditions and principals of bucket policies, and so would deny everything.
FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL
iam_backends.backend = SandboxIAMBackend
