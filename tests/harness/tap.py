# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the cases of one test file and prints them as TAP.

    with Tap('title') as t:
        t.case('name', function, argument, ...)

Arguments on the command line choose cases: one is run when its name contains
any of them.  The exit status is 0 when no case failed, else 1.
"""

import signal
import sys
import time
import traceback


def _leave(signum, _frame):
    # As an exception, so that every context manager on the way cleans up.
    raise SystemExit(128 + signum)


class Tap:
    def __init__(self, title):
        self.title = title
        self.chosen = sys.argv[1:]
        self.count = 0
        self.failed = 0

    def __enter__(self):
        for signum in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, _leave)
        self.diag(self.title)
        return self

    def diag(self, text):
        """Prints text as diagnostics, which no reader of TAP counts."""
        for line in str(text).splitlines():
            self._print(f'# {line}')

    def case(self, name, func, *args, **kwargs):
        """Runs one case: it fails when func raises.  True when it passed."""
        if self.chosen and not any(word in name for word in self.chosen):
            return True
        began = time.monotonic()
        try:
            func(*args, **kwargs)
        except Exception as error:
            self._result('not ok', name)
            self.diag(self._explain(error))
        else:
            self._result('ok', name)
            self.diag(f'  {time.monotonic() - began:.1f} s')
            return True
        return False

    def skip(self, name, why):
        """Says that a case was left out, and why."""
        if not self.chosen or any(word in name for word in self.chosen):
            self._result('ok', f'{name} # SKIP {why}')

    def __exit__(self, kind, error, _trace):
        if kind is not None and issubclass(kind, Exception):
            self._result('not ok', self.title)
            self.diag(self._explain(error))
            kind = None
        elif self.count == 0 and kind is None:
            self._result('not ok', f'{self.title}: no case was run')
        self._print(f'1..{self.count}')
        if kind is None:
            sys.exit(1 if self.failed else 0)
        return False

    def _result(self, verdict, name):
        self.count += 1
        self.failed += verdict == 'not ok'
        self._print(f'{verdict} {self.count} - {name}')

    @staticmethod
    def _print(line):
        print(line, flush=True)

    @staticmethod
    def _explain(error):
        frames = traceback.extract_tb(error.__traceback__)
        where = ' < '.join(f'{f.filename.rpartition("/")[2]}:{f.lineno}'
                           for f in reversed(frames))
        return f'{type(error).__name__}: {error}\nat {where}'


def check(condition, text):
    """Raises with text when condition doesn't hold."""
    if not condition:
        raise AssertionError(text)


def equal(got, expected, what):
    """Raises, naming what, when got is not expected."""
    check(got == expected, f'{what}: expected {expected!r}, got {got!r}')
