"""Compare the tasks with what a person would use instead: `make bench` writes the table in docs/benchmarks.md.

Every figure is a ratio of two medians of one run on one machine. The rivals take turns, round for round, so that whatever
else the machine does falls on both of them.

- `comparisons`: the rows of the table;
- `measure`: hyperfine, which takes the times;
- `account`: the emulated AWS with a cluster in it, which the rows that speak to AWS share;
- `connect-uqle.sh`, `pcluster-alone.sh`: the rivals that are more than one command.

What is measured on nodes that boot is in `tests/nodes`, with the marker `speed`: it needs root.
"""
