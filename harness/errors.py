"""Everything that goes wrong on purpose.

::

    AbharnessError
    ├── InputError            what the user gave cannot be used: one line, exit code 2
    │   ├── ConfigError       an experiment file, a flag or an environment variable
    │   ├── DataError         a data file or its manifest
    │   ├── ArmError          an arm's name, its options or its weights
    │   └── StoreError        the folder that holds the results
    │       └── NewerRecordError  a record that a newer version made
    ├── QuitError             a user's code asked to end the program, which is not its to end
    └── ForecastError         an arm returned something inadmissible: becomes a failed row
"""

__all__ = [
    "AbharnessError",
    "ArmError",
    "ConfigError",
    "DataError",
    "ForecastError",
    "InputError",
    "NewerRecordError",
    "QuitError",
    "StoreError",
]


class AbharnessError(Exception):
    """Base of all errors this package raises on purpose."""


class InputError(AbharnessError):
    """Something the user gave cannot be used; the message is one line."""


class ConfigError(InputError):
    """An experiment file, a flag or an environment variable is wrong."""


class DataError(InputError):
    """A data file or its manifest is wrong."""


class ArmError(InputError):
    """An arm cannot be found, built or loaded."""


class StoreError(InputError):
    """The store cannot be read or written."""


class NewerRecordError(StoreError):
    """A record was made by a newer version, which alone can read it."""


class QuitError(AbharnessError):
    """A user's code asked to end the program."""


class ForecastError(AbharnessError):
    """An arm returned something that is not an admissible forecast."""
