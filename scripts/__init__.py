"""Programs for developers: `make readme` and `make screenshots` run them."""
