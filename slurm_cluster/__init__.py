"""The path from an AWS account to a Slurm cluster with a REST API and a connected UQLE machine: plain functions, no state.

What exists in AWS is found by stack, logical id, name or tag; what a person writes is found in the current folder.
"""
