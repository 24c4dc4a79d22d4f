"""As ``dataflow.tensorflow`` of wbaek/dataflow."""
