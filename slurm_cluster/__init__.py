"""From an AWS account to a Slurm cluster with a REST API and a connected UQLE machine.

No state is kept here: what exists in AWS is found by stack, logical id, name or tag, and the user's files are
in the current folder.
"""
