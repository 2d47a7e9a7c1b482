"""Running the command line, and how it ends: exit codes, and errors in words that name the remedy.

Little is imported before signals are listened to: what the commands need takes a second to load.
"""

import errno
import sys
from io import TextIOWrapper

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


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 a problem to mend, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."""
    stop_on_signals()
    _write_whatever_the_encoding()
    try:
        from isdm.cli.app import run_command

        sys.exit(run_command())
    except UsageError as error:
        complain(str(error))
        sys.exit(2)
    except IsdmError as error:
        complain(str(error))
        sys.exit(1)
    except OSError as error:  # disk full, no permission, a file that vanished: the system's words name the file
        complain(explained(error))
        sys.exit(1)
    except (MemoryError, RecursionError) as error:
        complain(f"This input needs more memory than there is ({type(error).__name__}); give smaller or fewer files.")
        sys.exit(1)
    except StopRequestedError as stop:
        kept = "What is finished is saved; the same command goes on from there."
        complain(kept if stop.work_is_kept else "Nothing was written.", "Interrupted: ")
        sys.exit(stop.exit_code)


def _write_whatever_the_encoding() -> None:
    """A character that the terminal's encoding lacks is written as an escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def explained(error: OSError) -> str:
    """The system's words, the file, and what to do, in one or two lines."""
    what = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    remedy = _REMEDIES.get(error.errno or 0)
    return what if remedy is None else f"{what}\n{remedy}"


def complain(message: str, title: str = "Error: ") -> None:
    """Print what went wrong to standard error; names in it may be a stranger's."""
    from isdm.progress import plain_console
    from isdm.text import printable_lines

    console = plain_console(stderr=True)
    console.print(title, style="bold red", end="")
    console.print(printable_lines(message))
