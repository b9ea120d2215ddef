/*
 * Which subsections go together
 *
 * A structure's combinations say which sets of its subsections are a state
 * that it can be in.  Implements "Which combinations are valid" of
 * docs/devel/migration-v4/devices.rst.  Pure: knows no machine, and trusts
 * nothing that it reads.
 *
 *     combinations = alternative { "|" alternative }
 *     alternative  = { name | "[" combinations "]" }
 *
 * Names next to one another are there together, what is in brackets may be
 * missing as a whole, and of alternatives there is one.  A name that has a
 * space, a bracket or a bar in it stands between single quotes.  A set has a
 * bit for each subsection, in the order of the names.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_COMBINATIONS_H
#define MIGRATION_COMPAT_COMBINATIONS_H

#include "qemu/units.h"

/* Limits; more is refused */
#define COMBINATIONS_TEXT_MAX (16 * KiB)
#define COMBINATIONS_DEPTH_MAX 16
#define COMBINATIONS_NAMES_MAX 64

typedef struct Combinations Combinations;

/**
 * combinations_parse: read which subsections go together
 *
 * @text: in the grammar above
 * @names: of the structure's subsections, copied; %NULL if they are those that
 * stand in @text, in that order, and are such as can be shown to people
 * @n: how many names there are
 * @errp: says what is wrong, and where in @text
 *
 * In @text stands a subsection's whole name, or what is behind its last '/'.
 * Every subsection has to be named, and nothing else.
 *
 * Returns: the combinations, which the caller frees; %NULL on failure.
 */
Combinations *combinations_parse(const char *text, const char *const *names,
                                 unsigned n, Error **errp);

/**
 * combinations_copy: the same once more
 *
 * Returns: the copy, which the caller frees.
 */
Combinations *combinations_copy(const Combinations *c);

void combinations_free(Combinations *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Combinations, combinations_free)

/**
 * combinations_count: how many subsections there are
 */
unsigned combinations_count(const Combinations *c);

/**
 * combinations_name: the whole name of subsection @i
 *
 * Returns: the name, which is @c's.
 */
const char *combinations_name(const Combinations *c, unsigned i);

/**
 * combinations_rename: give subsection @i another name
 *
 * @name: copied
 *
 * Returns: %false if it cannot stand in the grammar above, as it is empty or
 * has a quote in it.
 */
bool combinations_rename(Combinations *c, unsigned i, const char *name);

/**
 * combinations_find: which subsection has this whole name?
 *
 * Returns: its number, or -1.
 */
int combinations_find(const Combinations *c, const char *name);

/**
 * combinations_allow: do these subsections, and no others, go together?
 */
bool combinations_allow(const Combinations *c, uint64_t set);

/**
 * combinations_largest: the valid set of most subsections within bounds
 *
 * @least: what has to be in it
 * @most: what may be in it
 * @set: where it goes; of several of that size, the one that is written first
 *
 * Returns: %false if there is none.
 */
bool combinations_largest(const Combinations *c, uint64_t least, uint64_t most,
                          uint64_t *set);

/**
 * combinations_is_list: are all sets listed, one by one?
 *
 * @most: how many there may be
 *
 * Returns: %false if there are brackets, or more sets.
 */
bool combinations_is_list(const Combinations *c, unsigned most);

/**
 * combinations_foreach: call a function for each valid set
 *
 * @limit: for at most so many
 *
 * In the order in which they are written, those without what is in brackets
 * before those with it; none comes twice.
 *
 * Returns: for how many it was called.
 */
unsigned combinations_foreach(const Combinations *c, unsigned limit,
                              void (*fn)(uint64_t set, void *arg), void *arg);

/**
 * combinations_to_text: the combinations with whole names
 *
 * Returns: the text, which combinations_parse() takes and the caller frees.
 */
char *combinations_to_text(const Combinations *c);

/**
 * combinations_set_to_text: a set for people, "thing/a + thing/b"
 *
 * Returns: the text, "none" if the set is empty, which the caller frees.
 */
char *combinations_set_to_text(const Combinations *c, uint64_t set);

/**
 * combinations_sets_to_text: sets as combinations, "thing/a thing/b | thing/a"
 *
 * Returns: the text, which combinations_parse() takes and the caller frees.
 */
char *combinations_sets_to_text(const Combinations *c, const uint64_t *sets,
                                unsigned n);

/**
 * combinations_refusal: say that a structure has a set that is not valid
 *
 * @structure: its name
 *
 * Returns: the text, which the caller frees.
 */
char *combinations_refusal(const Combinations *c, const char *structure,
                           uint64_t set);

#endif
