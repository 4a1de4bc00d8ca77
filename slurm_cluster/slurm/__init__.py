"""Helpers for Slurm: its REST API, and SSH to its machines."""

API_VERSIONS = "v0.0.41 to v0.0.44"  # of Slurm 25.11, which ParallelCluster 3.16 installs
REST_PORT = 8082  # of slurmrestd, open only inside the head node's security group
