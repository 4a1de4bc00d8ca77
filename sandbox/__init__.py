"""An emulated AWS in which the real tools run unchanged: `python -m sandbox COMMAND...` runs COMMAND in it.

moto keeps the state and answers the calls, on a port of this machine. This package adds what moto lacks for the life of a
cluster, with real effects:

- `resource_types`: the CloudFormation resources that moto does not know, makes in part or never deletes;
- `stacks`: the creation and deletion of a stack, which take time and can fail;
- `ec2`: addresses, client tokens, and the refusal to delete what is in use;
- `fleet`: the compute fleet, which stops and starts when it is asked to;
- `moto_patches`: what S3 and IAM refuse;
- `public_images`: what others publish in AWS, as images, parameters and templates;
- `faults`: what goes wrong, when a test asks for it;
- `policies`: what policies of IAM allow, and the simulation of it;
- `inventory`: a list of everything in the account;
- `exposure`: who may reach what in it, and how it is protected;
- `record`: all calls, as they came over the wire;
- `environment`: the way in, and the cutting off of every other way out.

What it leaves out: no machine boots (the head node is taken to have reported success), permissions, quotas and bucket
policies are kept but not enforced, no metrics and logs come from machines, and what takes AWS minutes takes seconds here.
"""

import gc
import os

gc.set_threshold(100_000)  # moto knows a million things of AWS by heart, and none of them is garbage
# First of all, the person's own AWS leaves this process: moto reads profiles as soon as it is imported.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]

from sandbox.environment import emulated_aws, reset  # noqa: E402
from sandbox.inventory import Inventory, Thing, inventory  # noqa: E402

__all__ = ["Inventory", "Thing", "emulated_aws", "inventory", "reset"]
