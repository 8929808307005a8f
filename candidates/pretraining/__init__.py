"""The recipe of the bundled checkpoint: a small Chronos-Bolt trained on synthetic series only.

`recipe` holds every setting; `price_like` and `structural` make series, `mixture` draws pools of
them; `batches`, `loss` and `training` train on them; `checkpoint` saves a state to go on from and a
folder that Chronos loads; `evaluation` scores that on real prices, and `card` says it all. Only
`evaluation` reads data, and what trains must not import it: an import contract holds that.

    python -m candidates.pretraining --help
"""
