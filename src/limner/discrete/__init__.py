"""The mathematics of discrete codes: how a picture is scored under a dVAE, how a sequence of tokens is scored and drawn.

Pure functions of tensors and numbers, as in `diffusion`; the networks are in `networks`, which this floor never imports.
"""
