"""What a chain is turned into before it runs: from records of its flows to plan fragments."""
