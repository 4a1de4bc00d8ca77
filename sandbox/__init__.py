"""An emulated AWS for the real tools: `python -m sandbox COMMAND...` runs COMMAND in it.

moto keeps the state and answers the calls, on a port of this machine. This package adds what moto lacks to
create, change and delete a cluster:

- `resource_types`: CloudFormation resources that moto does not know, creates only in part, or never deletes;
- `stacks`: stacks that take time to create and delete, and that can fail;
- `ec2`: addresses, client tokens, and errors for deleting what is in use;
- `fleet`: the compute fleet, which stops and starts on request;
- `moto_patches`: smaller corrections of S3 and IAM;
- `public_images`: the public images, parameters and templates of other accounts;
- `policies`: the evaluation and simulation of IAM policies;
- `faults`: failing calls, for tests;
- `inventory`: lists all resources in the account;
- `exposure`: lists the open ports, and how resources are protected;
- `record`: records all calls;
- `small_cluster`: a small stack that looks like a cluster, for quick tests;
- `environment`: starts the emulated AWS and blocks access to everything else;
- `rehearsal`: runs the README's steps in the emulated AWS.

Not emulated:

- No machine boots. Every head node reports success, and no metrics or logs come from machines.
- Permissions, quotas and bucket policies are stored, but not enforced.
- Operations that take minutes in AWS take seconds here.
"""

import gc
import os

gc.set_threshold(100_000)  # moto loads a million small objects that are never freed
# Remove the user's own AWS settings first: moto reads profiles on import.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]

from sandbox.environment import emulated_aws, reset  # noqa: E402
from sandbox.inventory import Inventory, Resource, list_resources  # noqa: E402

__all__ = ["Inventory", "Resource", "emulated_aws", "list_resources", "reset"]
