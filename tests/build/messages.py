#!/usr/bin/python3
"""Every message of the stream's code is in the table of messages.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import pathlib
import re
import sys

from harness.tap import Tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs/devel/migration-v4'
TABLES = [DOCS / 'errors.rst', DOCS / 'qemu-vmstate.rst']
SOURCES = ['migration/stream/*.c', 'migration/compat/*.c',
           'migration/snapshot/*.c', 'migration/config/*.c',
           'migration/ram/*.c',
           'tools/qemu-vmstate/*.c']
CALLS = (r'\b(?:error_setg(?:_errno)?|migration_stream_failed(?:_hint)?|'
         r'remark|fail)\(')
STRING = r'"(?:[^"\\]|\\.)*"'
# Too short to be a message of their own: parts that are filled in
SHORTEST = 8


def arguments(text, start):
    """What stands between a parenthesis that opens before start and its end."""
    depth, at = 1, start
    while depth:
        string = re.compile(STRING).match(text, at)
        if string:
            at = string.end()
            continue
        depth += {'(': 1, ')': -1}.get(text[at], 0)
        at += 1
    return text[start:at - 1]


def messages(path):
    """The format strings of a source's messages, without hints."""
    text = path.read_text()
    text = re.sub(r'"\s*PRI\w+\s*"', 'u', text)
    text = re.sub(r'"\s*PRI\w+', 'u"', text)
    for call in re.finditer(CALLS, text):
        hint = call.group().startswith('migration_stream_failed_hint')
        literals = re.findall(rf'{STRING}(?:\s*{STRING})*',
                              arguments(text, call.end()))
        for literal in literals[hint:]:
            yield ''.join(s[1:-1] for s in re.findall(STRING, literal))


def words(message):
    """The pieces of fixed words in a message that it can be known by."""
    pieces = re.split(r"'?%[-0-9.]*[hlzju]*\w'?|:|;|,", message)
    return [p for p in (p.strip(" '()") for p in pieces) if len(p) >= SHORTEST]


def check(path, table):
    missing = [m for m in messages(path) if not m.startswith(' ')
               and words(m) and not any(w in table for w in words(m))]
    assert not missing, 'not in the table: ' + '; '.join(missing)


def main():
    table = ' '.join(' '.join(t.read_text() for t in TABLES).split())
    with Tap('messages') as tap:
        for pattern in SOURCES:
            for path in sorted(ROOT.glob(pattern)):
                tap.case(path.name, check, path, table)


if __name__ == '__main__':
    sys.exit(main())
