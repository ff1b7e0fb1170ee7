"""The one exception that is shown to the user as a sentence instead of a traceback."""


class UserError(Exception):
    """An error that the user can fix: a wrong setting, a missing file, a full disk.

    The message is one clear sentence that names the file (and line) or setting and says what to do. `kd-asr` prints it
    without a traceback and exits with status 2.
    """
