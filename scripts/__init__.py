"""The developers' chores that are programs: `make readme` and `make screenshots` run them."""
