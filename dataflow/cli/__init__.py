"""The command ``dataflow``: one module a subcommand, see `dataflow.cli.main`."""
