# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines that scroll above a progress bar, on a terminal; without one, plain
lines with a progress line every quarter.
"""

import shutil

BAR = 30


class Screen:
    def __init__(self, stream):
        self.stream = stream
        self.terminal = stream.isatty()
        self.bar = ''
        self.best = 0.0
        self.quarter = 0

    def line(self, text):
        """Prints a line; the bar stays below it."""
        if self.bar and self.terminal:
            print('\r\033[K', end='', file=self.stream)
        print(text, file=self.stream)
        self._draw()

    def progress(self, part, text=''):
        """Shows how far things are (0 to 1); None takes the bar away.  What
        was reached once is not taken back: a guest dirties its memory."""
        if part is None:
            if self.terminal and self.bar:
                print('\r\033[K', end='', file=self.stream, flush=True)
            self.bar, self.best = '', 0.0
            return
        self.best = max(self.best, part)
        filled = round(self.best * BAR)
        self.bar = (f'{"":14}[{"#" * filled}{"." * (BAR - filled)}] '
                    f'{self.best:4.0%}  {text}')
        if self.terminal:
            print('\r\033[K', end='', file=self.stream)
            self._draw()
        elif int(self.best * 4) > self.quarter:
            self.quarter = int(self.best * 4)
            print(self.bar, file=self.stream, flush=True)

    def _draw(self):
        if self.terminal:
            print(self.bar[:self._width()], end='', file=self.stream)
        self.stream.flush()

    @staticmethod
    def _width():
        # One column less: some terminals wrap at the last one.
        return shutil.get_terminal_size().columns - 1
