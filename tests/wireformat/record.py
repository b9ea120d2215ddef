# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes expected/, the wire format on record.

    pc-q35: 7.1 7.2                         the machine types of this set
    timer 0: struct timer                   what all of them send
    slirp 0: version 4, 131 bytes
    hpet 0: struct hpet (2)  [pc-q35 ..7.1] what some of them send

A condition is a family of machine types, with the releases from..to if it is
not all of them.
"""

import difflib
import pathlib
import re

from wireformat.model import Field, Item, Structure

EXPECTED = pathlib.Path(__file__).parent / 'expected'
STRUCTURES = 'structures'       # a directory in there
LABEL = re.compile(r'(.*?)(?: \((\d+)\))?$')
REFERENCE = re.compile(r'(?:(.*), |)struct (.*)$')
HEADING = re.compile(r'(.*?), version (\d+)(, optional)?$')
CONDITION = re.compile(r'(.*?)(?:  \[(.*)\])?$')
SUBSECTION = 'subsection'


# -- machine types

def split(machine):
    """('pc-q35', '7.2-v4') of pc-q35-7.2-v4, ('isapc', '') of isapc"""
    family, _, release = re.match(r'(.*?)(-(\d.*))?$', machine).groups()
    return family, release or ''


def join(family, release):
    return f'{family}-{release}' if release else family


def _families(types):
    """{family: [release]}, in order"""
    families = {}
    for family, release in map(split, types):
        families.setdefault(family, []).append(release)
    return families


def condition(some, types):
    """The words that choose some of all types."""
    words = []
    for family, releases in _families(types).items():
        chosen = [join(family, release) in some for release in releases]
        if all(chosen):
            words.append(family)
            continue
        for begin, release in enumerate(releases):
            if not chosen[begin] or begin and chosen[begin - 1]:
                continue
            end = (chosen[begin:] + [False]).index(False) + begin - 1
            first = release if begin else ''
            last = releases[end] if end < len(releases) - 1 else ''
            words.append(f'{family} {first}..{last}' if first != last
                         else f'{family} {first}')
    return ', '.join(words)


def chosen(words, types):
    """The types that a condition chooses; all of them if there is none."""
    if words is None:
        return set(types)
    some = set()
    families = _families(types)
    for word in words.split(', '):
        family, _, span = word.partition(' ')
        releases = families[family]
        first, dots, last = span.partition('..')
        begin = releases.index(first) if first else 0
        end = (releases.index(last) if last else
               len(releases) - 1 if dots or not span else begin)
        some |= {join(family, r) for r in releases[begin:end + 1]}
    return some


# -- lines

def _line(name, what, reference):
    """One line for an item or a field."""
    rest = ', '.join(filter(None, [what, reference and f'struct {reference}']))
    return f'{name}: {rest}' if rest else name


def _parts(line):
    """(name, what, reference) of a line"""
    name, _, rest = line.partition(': ')
    match = REFERENCE.match(rest)
    return (name, match[1] or '', match[2]) if match else (name, rest, None)


# -- reading

class Record:
    """What is on record.

    types        {set: [machine types]}
    items        {(set, machine type): [Item]}
    structures   {name: {number: Structure}}
    """

    def __init__(self, directory=EXPECTED):
        self.types = {}
        self.items = {}
        self.structures = {}
        self._blocks = {}       # {label: lines}, to be made Structures
        for path in (directory / STRUCTURES).glob('*'):
            for block in path.read_text().strip().split('\n\n'):
                lines = [line.strip() for line in block.split('\n')]
                self._blocks[HEADING.match(lines[0])[1]] = lines
        for label in self._blocks:
            self.structure(label)
        for path in sorted(directory.glob('*')):
            if path.is_file():
                self._set(path.name, path.read_text())

    def _set(self, devices, text):
        head, _, body = text.partition('\n\n')
        types = self.types[devices] = []
        for line in head.split('\n'):
            family, _, releases = line.partition(': ')
            types += [join(family.rstrip(':'), release)
                      for release in releases.split() or ['']]
        for machine in types:
            self.items[devices, machine] = []
        for line in body.strip().split('\n'):
            line, words = CONDITION.match(line).groups()
            name, what, reference = _parts(line)
            item = Item(name, what, self.structure(reference))
            some = chosen(words, types)
            for machine in types:
                if machine in some:
                    self.items[devices, machine].append(item)

    def structure(self, label):
        """The structure of that label, with all that is in it."""
        if label is None:
            return None
        name, number = LABEL.match(label).groups()
        known = self.structures.setdefault(name, {})
        number = int(number or 1)
        if number not in known:
            head, *lines = self._blocks[label]
            _, version, optional = HEADING.match(head).groups()
            parts = [(what, rest, self.structure(reference))
                     for what, rest, reference in map(_parts, lines)]
            known[number] = Structure(
                name, int(version),
                tuple(Field(*part) for part in parts if part[0] != SUBSECTION),
                tuple(part[2] for part in parts if part[0] == SUBSECTION),
                bool(optional))
        return known[number]


# -- writing

def _inner(structure):
    yield from (f.structure for f in structure.fields if f.structure)
    yield from structure.subsections


def _shape(structure):
    """What a structure has, but for what is inside of that."""
    return (structure.version, [(f.name, f.what) for f in structure.fields],
            [sub.name for sub in structure.subsections])


class _Labels:
    """Gives each structure a label.  A form that is on record keeps its
    number, and a new one takes that of one that is gone, so that a change
    shows as what it is."""

    def __init__(self, found, old):
        self.forms = {}         # {name: {Structure: number}}
        for items in found.values():
            for item in items:
                self._add(item.structure)
        for name, forms in self.forms.items():
            self._number(forms, old.get(name, {}))

    def _add(self, structure):
        forms = structure and self.forms.setdefault(structure.name, {})
        if structure and structure not in forms:
            forms[structure] = None
            for inner in _inner(structure):
                self._add(inner)

    @staticmethod
    def _number(forms, old):
        """forms: to be numbered; old: {number: Structure}"""
        free = {}
        for number, structure in old.items():
            if structure in forms:
                forms[structure] = number
            else:
                free[number] = structure
        unused = (n for n in range(1, 1 + len(old) + len(forms))
                  if n not in old)
        for structure, number in forms.items():
            if number is None:
                alike = [n for n in free
                         if _shape(free[n]) == _shape(structure)]
                forms[structure] = (alike or sorted(free) or [None])[0]
                free.pop(forms[structure], None)
                forms[structure] = forms[structure] or next(unused)

    def label(self, structure):
        if structure is None:
            return None
        number = self.forms[structure.name][structure]
        return structure.name + (f' ({number})' if number > 1 else '')

    def block(self, structure):
        """The lines for a structure in its file."""
        optional = ', optional' if structure.optional else ''
        return '\n    '.join(
            [f'{self.label(structure)}, version {structure.version}{optional}',
             *(_line(f.name, f.what, self.label(f.structure))
               for f in structure.fields),
             *(_line(SUBSECTION, '', self.label(sub))
               for sub in structure.subsections)])


def _merged(sequences):
    """[(line, machine types)]: one sequence out of which each machine type's
    own can be picked, newest first.  sequences: {machine type: lines}"""
    merged = []
    for machine, lines in reversed(sequences.items()):
        old, merged = merged, []
        matcher = difflib.SequenceMatcher(None, [line for line, _ in old],
                                          lines, autojunk=False)
        for what, i, j, k, end in matcher.get_opcodes():
            if what == 'equal':
                merged += [(line, some | {machine})
                           for line, some in old[i:j]]
            else:
                merged += old[i:j] + [(line, {machine})
                                      for line in lines[k:end]]
    return merged


def write(found, old, directory=EXPECTED):
    """Puts on record what was found: {(set, machine type): [Item]}; old: the
    Record so far."""
    structures = directory / STRUCTURES
    labels = _Labels(found, old.structures)
    files = {}
    for name, forms in sorted(labels.forms.items()):
        path = structures / re.sub(r'[^\w.+-]', '-', name)
        files.setdefault(path, []).extend(
            labels.block(s) for s in sorted(forms, key=forms.get))
    for devices in dict.fromkeys(devices for devices, _ in found):
        types = [machine for of, machine in found if of == devices]
        merged = _merged({machine: [_line(i.name, i.what,
                                          labels.label(i.structure))
                                    for i in found[devices, machine]]
                          for machine in types})
        body = [line if len(some) == len(types)
                else f'{line}  [{condition(some, types)}]'
                for line, some in merged]
        head = [f'{family}: {" ".join(releases)}'.rstrip()
                for family, releases in _families(types).items()]
        files[directory / devices] = ['\n'.join(head), '\n'.join(body)]
    structures.mkdir(parents=True, exist_ok=True)
    for path in [*directory.iterdir(), *structures.iterdir()]:
        if path.is_file() and path not in files:
            path.unlink()
    for path, blocks in files.items():
        path.write_text('\n\n'.join(blocks) + '\n')
