"""Who runs workers: threads of this process, processes, or the actors of a Ray cluster."""
