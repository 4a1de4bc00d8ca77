"""What exists of a cluster, read from AWS and the configuration for steps and views alike."""
