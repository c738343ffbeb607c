"""The words of errors: four carry all error policy, and one says what AWS said."""

from __future__ import annotations


class UsageError(Exception):
    """A person can mend this: `message` says what is wrong, `hint` what to do next. Both are shown as they are."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Retry(Exception):
    """This passes by itself: try again after `after` seconds."""

    def __init__(self, message: str, after: float = 2.0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.after = after
        self.hint = hint


class Fatal(Exception):
    """This does not pass by itself and the person who asked cannot mend it with other words."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NeedsPerson(Exception):
    """This does not pass by itself, and somebody can mend it outside: the run is parked until they have. `message` says
    what is wrong, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class AwsRefused(UsageError):
    """AWS said no. `code` is AWS's error code (`InvalidSubnetID.NotFound`)."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code
