"""Compare the slow parts of this repository with what a user would use instead. `make bench` runs this.

Each row compares two medians of one run on one machine. The compared commands take turns, so that other load
on the machine affects both.

- `comparisons`: the rows of the table;
- `measure`: times commands with hyperfine;
- `account`: an emulated AWS with a cluster, for the comparisons that need one;
- `connect-uqle.sh`, `pcluster-alone.sh`: the commands that two tasks are compared with.

The tests in `tests/nodes` with the marker `speed` measure booted nodes. They need root.
"""
