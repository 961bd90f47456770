"""The exceptions of the package. Their messages are those of the library."""


class RekindleError(Exception):
    """Any error of the library."""


class ConfigError(RekindleError, ValueError):
    """A setting or an argument that is unknown or invalid."""


class InputError(RekindleError, ValueError):
    """An observation or action of the wrong shape, type or parts."""


class EnvError(RekindleError):
    """An environment that is unknown, or that failed."""


class CheckpointError(RekindleError):
    """A checkpoint, bundle or run folder that is missing, damaged, or of another kind."""


class DeviceError(RekindleError):
    """A device that is unknown or not available."""


class GroupError(RekindleError):
    """A group of learners or runners that has lost a member, or whose members cannot work together."""
