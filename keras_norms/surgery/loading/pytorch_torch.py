"""Reads the file of a PyTorch state dict."""

import pickle

import torch


def read(path):
    """Returns the state dict that a file holds. Nothing in the file is run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} must be a file of `torch.save(model.state_dict(), path)`; a whole model is not read, for that "
            f"would run code of the file. {type(error).__name__}: {error}"
        ) from error
