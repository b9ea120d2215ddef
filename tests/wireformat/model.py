# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a stream: its items (sections, mostly) and their
structures, without any value that the moment decides.
"""

import itertools
import typing


class Structure(typing.NamedTuple):
    """What a VMStateDescription has sent: fields, then subsections."""
    name: str
    version: int
    fields: tuple
    subsections: tuple
    optional: bool = False


class Field(typing.NamedTuple):
    """name: with the number of elements, or which of them these are.
    what: type and size, or what is to be said beside the structure."""
    name: str
    what: str
    structure: Structure = None


class Item(typing.NamedTuple):
    """A part of a stream: what it is called, what is to be said of it, and
    its structure if it has one."""
    name: str
    what: str
    structure: Structure = None


def section(name, instance):
    """What the item of a section is called."""
    return f'{name} {instance}'


def count(number, thing):
    return f'{number} {thing}{"" if number == 1 else "s"}'


def leaf(name, kind, size):
    return Field(name, f'{kind}, {count(size, "byte")}')


def collapse(name, elements):
    """The fields that stand for an array: one for each run of elements that
    are alike.  elements: (what, structure) of each."""
    begin = 0
    for (what, structure), run in itertools.groupby(elements):
        size = len(list(run))
        end = begin + size - 1
        if size == len(elements):
            where = f'[{size}]'
        elif size == 1:
            where = f' at {begin}'
        else:
            where = f' at {begin} to {end}'
        yield Field(name + where, what, structure)
        begin = end + 1


def group(name, kind, fields):
    """The fields that stand for one whose type has a format of its own."""
    yield Field(name, kind)
    for field in fields:
        yield field._replace(name=f'{name}.{field.name}')


def item(name, instance, version, length, structure=None):
    """The Item of a section, which has a structure or a length."""
    if structure is None:
        what = f'version {version}, {count(length, "byte")}'
    else:
        what = f'version {version}' if version != structure.version else ''
    return Item(section(name, instance), what, structure)
