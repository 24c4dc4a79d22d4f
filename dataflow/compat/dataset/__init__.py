"""Found as modules of `dataflow.dataset`."""
