"""Found as modules of `dataflow.imgaug`."""
