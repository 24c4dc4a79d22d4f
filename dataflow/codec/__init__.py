"""How a datapoint becomes frames of bytes and back."""
