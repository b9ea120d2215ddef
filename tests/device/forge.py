# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams of version 4 that have one valid combination of subsections each,
out of one that has more of them.
"""

import dataclasses
import itertools
import re

from interop import wire
from interop.stream import Stream

SPARE = 0x0010              # of a frame: stored, and not needed
COMBINATIONS_MAX = 4        # of each structure


def valid(text, there=None):
    """The sets of names that combinations allow, as query-vmstate has them
    ("Which combinations are valid" in devices.rst); of the names that are
    there, or of all of them."""
    words = re.findall(r"'[^']*'|[][|]|[^][|'\s]+", text)

    def alternatives():
        found = {frozenset()}
        sets = set()
        while words and words[0] != ']':
            word = words.pop(0)
            if word == '|':
                sets |= found
                found = {frozenset()}
                continue
            if word == '[':
                inner = {frozenset(), *alternatives()}
                words.pop(0)
            else:
                name = word.strip("'")
                inner = ({frozenset([name])}
                         if there is None or name in there else set())
            found = {a | b for a, b in itertools.product(found, inner)}
        return sets | found

    return alternatives()


def declared(facts):
    """{structure: which go together} of what query-vmstate says."""
    return {c['structure']: c['combinations']
            for device in facts['devices']
            for c in device.get('combinations', ())}


def forged(data, sections, combinations):
    """Yields (structure, names, stream) for each combination that can be made
    of what a stream has, but for the one that it has."""
    stream = Stream(data)
    for at, record in enumerate(stream.records):
        if (not record.identifies or record.type != wire.FULL or
                (record.name, record.instance) not in sections):
            continue
        tree = stream.tree(record)
        for frame, _ in list(tree.walk()) if tree else ():
            stored = frame.subsections
            needed = {s.name for s in stored if not s.flags & SPARE}
            if not stored:
                continue
            sets = valid(combinations.get(frame.name, ''),
                         {sub.name for sub in stored}) - {frozenset(needed)}
            for names in sorted(map(sorted, sets))[:COMBINATIONS_MAX]:
                frame.subsections = [
                    dataclasses.replace(sub, flags=sub.flags & ~SPARE)
                    for sub in stored if sub.name in names]
                other = stream.copy()
                other.store(other.records[at], tree.encode())
                frame.subsections = stored
                yield frame.name, names, other.encode()
