"""The population register: `population.v1.PersonRegistry`."""
