"""Helpers for AWS: one module for each kind of resource, plain functions on boto3 clients."""
