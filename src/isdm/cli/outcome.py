"""Running the command line, and how it ends: exit codes, and errors in words that name the remedy.

Little is imported before signals are listened to: what the commands need takes a second to load.
"""

import errno
import sys

from isdm.errors import IsdmError, UsageError
from isdm.signals import StopRequestedError, stop_on_signals

_MAKE_ROOM = "Make room; the same command then goes on from what is finished."
_GIVE_RIGHTS = "Allow writing there or give another folder; what is finished is kept."
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: _MAKE_ROOM,
    errno.EACCES: _GIVE_RIGHTS,
    errno.EPERM: _GIVE_RIGHTS,
    errno.EROFS: _GIVE_RIGHTS,
    errno.ENOENT: "Nothing else may remove files there meanwhile; the same command goes on from what is finished.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`); the same command goes on from what is finished.",
}
_USE_LESS = "Use smaller images, a smaller batch or fewer workers; what is finished is kept."


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 a problem to mend, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."""
    stop_on_signals()
    try:
        from isdm.cli.app import app

        app()
    except UsageError as error:
        _complain(str(error))
        sys.exit(2)
    except IsdmError as error:
        _complain(str(error))
        sys.exit(1)
    except OSError as error:  # disk full, no permission, a file that vanished: the system's words name the file
        _complain(explained(error))
        sys.exit(1)
    except MemoryError:
        _complain(f"Memory does not suffice. {_USE_LESS}")
        sys.exit(1)
    except StopRequestedError as stop:
        _complain("What is finished is saved; the same command goes on from there.", "Interrupted: ")
        sys.exit(stop.exit_code)


def explained(error: OSError) -> str:
    """The system's words, the file, and what to do, in one or two lines."""
    what = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    remedy = _REMEDIES.get(error.errno or 0)
    return what if remedy is None else f"{what}\n{remedy}"


def _complain(message: str, title: str = "Error: ") -> None:
    from isdm.progress import plain_console
    from isdm.text import printable_lines

    console = plain_console(stderr=True)
    console.print(title, style="bold red", end="")
    console.print(printable_lines(message))
