"""The replacement as networks with the legacy forward contract; importing this loads nothing.

`bayesian`, `quantile` and `hierarchical` each hold a class and its alias `Model`, as the modules
of an experiment's `model_dict` do.
"""
