"""What a registry refuses."""


class BadModel(ValueError):
    """A model, or what points at one, cannot be used: which file, what of it, and why."""
