"""What can go wrong, as the user is told it: one clear sentence per error."""


class CTSpectSpineError(Exception):
    """Base of all errors that carry a sentence for the user."""


class InputError(CTSpectSpineError, ValueError):
    """An input cannot be used. The message names it, what is wrong and what to do."""


class MissingPackageError(CTSpectSpineError, ImportError):
    """An optional package is needed. The message says which and how to install it."""


class Cancelled(CTSpectSpineError):
    """The user cancelled a running analysis."""
