"""What S3 and IAM refuse, and moto does not; and what moto refuses, and they do not."""

from typing import Any

from moto.iam.access_control import PermissionResult
from moto.iam.exceptions import DeleteConflictException
from moto.iam.models import IAMBackend, iam_backends
from moto.s3.models import FakeBucket, s3_backends
from moto.s3.responses import S3Response


class Access(IAMBackend):
    """IAM that deletes no policy while it is attached."""

    __module__ = IAMBackend.__module__  # moto finds the addresses of a service by it

    def delete_policy(self, policy_arn: str) -> None:
        """Refuse while a role, user or group has it."""
        if self.get_policy(policy_arn).attachment_count:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        super().delete_policy(policy_arn)


def head_bucket(self: Any) -> Any:
    """Answer 403 where the bucket is not the expected account's."""
    expected = self.headers.get("x-amz-expected-bucket-owner")
    owner = s3_backends.bucket_accounts.get(self.bucket_name, (None, expected))[1]
    return (403, {}, "") if expected and owner != expected else any_head_bucket(self)


any_head_bucket = S3Response.head_bucket
S3Response.head_bucket = head_bucket
# Bucket policies are kept, not enforced: moto ignores their conditions and principals, and so would deny everything.
FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL
iam_backends.backend = Access
