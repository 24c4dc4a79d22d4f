"""Small things that scripts use beside dataflows."""
