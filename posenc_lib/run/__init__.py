"""How an experiment is run: configuration, training, records, clusters, time."""
