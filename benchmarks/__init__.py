"""Compare the slow parts of this repository with what a user would use instead. `make bench` runs this.

Each row compares two medians of one run on one machine. The compared commands take turns, so that other load
on the machine affects both.

- `comparisons`: the rows of the table;
- `measure`: times commands with hyperfine;
- `account`: an emulated AWS with a cluster, for the comparisons that need one;
- `connect-uqle.sh`, `pcluster-alone.sh`: compared procedures of more than one command.

`tests/nodes` measures booted nodes, in the tests with the marker `speed`. It needs root.
"""
