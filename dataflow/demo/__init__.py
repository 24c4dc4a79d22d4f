"""Input for those who have none at hand: drawn photos, and a web server with simulated latency."""
