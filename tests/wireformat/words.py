# SPDX-License-Identifier: GPL-2.0-or-later
"""Says in words how what is sent differs from what was sent."""

import difflib
import re

SECTION = re.compile(r'(.*) (\d+)$')


def called(name):
    """What an item is called in a sentence."""
    match = SECTION.match(name)
    return (f"section '{match[1]}' (instance {match[2]})" if match
            else f"'{name}'")


def _changes(old, new, key):
    """(what, old, new, the one before) for each difference of two sequences:
    'gone', 'new', and 'same' for pairs of the same key."""
    matcher = difflib.SequenceMatcher(None, list(map(key, old)),
                                      list(map(key, new)), autojunk=False)
    for what, i, j, k, end in matcher.get_opcodes():
        if what == 'equal':
            for one, other in zip(old[i:j], new[k:end]):
                yield 'same', one, other, None
            continue
        for one in old[i:j]:
            yield 'gone', one, None, None
        for at in range(k, end):
            yield 'new', None, new[at], new[at - 1] if at else None


def _of(field):
    """What a field is, in brackets."""
    structure = field.structure and f"struct '{field.structure.name}'"
    return ', '.join(filter(None, [field.what, structure]))


def _base(field):
    """A field's name, without the number of its elements."""
    return re.sub(r'\[\d+\]$', '', field.name)


def _structures(old, new, path=''):
    """Phrases for what differs between two structures."""
    where = f'in {path}: ' if path else ''
    if old.version != new.version:
        yield f'{where}version {old.version} -> {new.version}'
    if old.optional != new.optional:
        yield (f'{where}is {"now" if new.optional else "no longer"} '
               'optional')
    for what, one, other, before in _changes(old.fields, new.fields, _base):
        if what == 'gone':
            yield f"{where}field '{one.name}' ({_of(one)}) is gone"
        elif what == 'new':
            place = f"behind '{before.name}'" if before else 'at the beginning'
            yield f"{where}new field '{other.name}' ({_of(other)}) {place}"
        else:
            yield from _fields(one, other, path)
    for what, one, other, _ in _changes(old.subsections, new.subsections,
                                        lambda sub: sub.name):
        if what == 'gone':
            yield f"{where}subsection '{one.name}' is gone"
        elif what == 'new':
            yield (f"{where}new subsection '{other.name}' (version "
                   f'{other.version})')
        elif one != other:
            yield from _structures(one, other,
                                   ', '.join(filter(None, [path, one.name])))


def _fields(old, new, path):
    """Phrases for what differs between two fields of one name."""
    where = f'in {path}: ' if path else ''
    if old == new:
        return
    one, other = old.structure, new.structure
    if old.name != new.name:
        yield f"{where}field '{old.name}' -> '{new.name}'"
    if (one and one.name) != (other and other.name) or old.what != new.what:
        yield f"{where}field '{new.name}': {_of(old)} -> {_of(new)}"
    if one and other and one != other and one.name == other.name:
        yield from _structures(one, other, '.'.join(filter(None, [path,
                                                                  new.name])))


def differences(old, new):
    """A sentence for each Item of a stream that is not what it was."""
    for what, one, other, before in _changes(old, new, lambda i: i.name):
        if what == 'gone':
            yield f'{called(one.name)} is not sent any more'
        elif what == 'new':
            place = f'behind {called(before.name)}' if before else 'first'
            version = (f'version {other.structure.version}'
                       if other.structure else other.what)
            extra = f' ({version})' if version else ''
            yield f'{called(other.name)}{extra} is new, {place}'
        elif one != other:
            phrases = []
            if one.what != other.what:
                phrases.append(f'{one.what or "nothing special"} -> '
                               f'{other.what or "nothing special"}')
            if one.structure and other.structure:
                if one.structure.name != other.structure.name:
                    phrases.append(f"struct '{one.structure.name}' -> "
                                   f"'{other.structure.name}'")
                else:
                    phrases += _structures(one.structure, other.structure)
            elif one.structure or other.structure:
                phrases.append('is described now' if other.structure
                               else 'is not described any more')
            yield f'{called(one.name)}: {"; ".join(phrases)}'
