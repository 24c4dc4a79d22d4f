"""Who runs workers: threads of this process, or processes."""
