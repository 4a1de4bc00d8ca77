"""The state of a cluster, read from AWS and its configuration, for steps and views."""
