/*
 * What a QEMU says of itself before a guest moves
 *
 * Its versions, its features, and for each device the range of versions and
 * the subsections that it knows: what query-vmstate shows and what the hello
 * carries.  Implements "Facts" of docs/devel/migration-v4/planning.rst.
 * Pure: knows no machine, and trusts nothing that it reads.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_FACTS_H
#define MIGRATION_COMPAT_FACTS_H

#include "qemu/units.h"
#include "qapi/qapi-types-machine-config.h"
#include "qapi/qmp/qdict.h"
#include "migration/stream/stored.h"
#include "migration/compat/combinations.h"

/* Limits on what is read; more is refused */
#define MIGRATION_FACTS_SIZE_MAX (16 * MiB)
#define MIGRATION_FACTS_DEPTH_MAX 32
#define MIGRATION_FACTS_DEVICES_MAX 65536
/* Of subsections of one state, features, versions of the stream, differences */
#define MIGRATION_FACTS_LIST_MAX 1024

/* Which subsections of a structure go together, by their whole names */
typedef struct MigrationCombinationFacts {
    char *structure;            /* its name */
    Combinations *valid;
    GArray *needed;             /* of uint64_t: sets that it has now */
} MigrationCombinationFacts;

/* What is saved and loaded as one: a device, or a subsection */
typedef struct MigrationStateFacts {
    char *name;
    uint32_t version;           /* the newest that is known */
    uint32_t minimum_version;   /* the oldest that can be loaded */
    uint32_t minimum_saved;     /* the oldest that can be saved */
    bool has_saved;
    uint32_t saved;             /* is saved at, if not at the newest */
    bool optional;              /* who does not know it may pass over it */
    bool needed;                /* it would be sent now */
    GPtrArray *subsections;     /* of MigrationStateFacts */
    /* Of MigrationCombinationFacts: its own, and of structures in it */
    GPtrArray *combinations;
} MigrationStateFacts;

typedef struct MigrationDeviceFacts {
    MigrationStateFacts state;
    uint32_t instance;
    bool expected;              /* its state has to come when it loads */
    /* Other names that its state may come under, when it loads */
    char *alias;                /* NULL if none */
    uint32_t alias_instance;
    const char *saved_why;      /* static; NULL if not said */
    char *lost;                 /* of a guest by that version; NULL: nothing */
    char *qom_path;             /* NULL if not known */
    uint64_t size;              /* of its state, in bytes; 0 if not known */
    bool has_legacy_instance;
    uint32_t legacy_instance;
    GPtrArray *stored;          /* of StreamStored: in the file; NULL if none */
} MigrationDeviceFacts;

typedef struct MigrationFeatureFacts {
    char *name;
    bool required;              /* both sides must have it, or none */
} MigrationFeatureFacts;

typedef struct MigrationFacts {
    char *qemu_version;
    char *qemu_package;         /* NULL if not known */
    char *machine;              /* the machine type */
    char *guest_machine;        /* what it is to the guest */
    bool has_token;
    uint64_t token;             /* of one migration, from its source */
    GArray *stream_versions;    /* of uint32_t */
    GPtrArray *features;        /* of MigrationFeatureFacts */
    GPtrArray *devices;         /* of MigrationDeviceFacts, as they are saved */
    /* In which the machine of the hello that is answered is another one */
    MachineDifferenceList *differences;
} MigrationFacts;

/**
 * migration_facts_new: facts with empty lists, to be filled in
 *
 * All strings become theirs, to be freed with g_free().
 */
MigrationFacts *migration_facts_new(void);

void migration_facts_free(MigrationFacts *facts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigrationFacts, migration_facts_free)

/**
 * migration_facts_add_stream_version: one more version of the stream is spoken
 */
void migration_facts_add_stream_version(MigrationFacts *facts,
                                        uint32_t version);

/**
 * migration_facts_add_feature: one more feature is there
 *
 * @name: copied
 */
void migration_facts_add_feature(MigrationFacts *facts, const char *name,
                                 bool required);

/**
 * migration_facts_add_device: one more device is there
 *
 * @name: 1 to 255 bytes; copied
 *
 * Returns: the device, which the facts own; all else in it is zero.
 */
MigrationDeviceFacts *migration_facts_add_device(MigrationFacts *facts,
                                                 const char *name,
                                                 uint32_t instance);

/**
 * migration_facts_add_subsection: a state knows one more subsection
 *
 * @name: 1 to 255 bytes; copied
 *
 * Returns: the subsection, which @state owns; all else in it is zero.
 */
MigrationStateFacts *migration_facts_add_subsection(MigrationStateFacts *state,
                                                    const char *name);

/**
 * migration_facts_find_subsection: which of a state's subsections has a name?
 *
 * @state: NULL has none
 *
 * Returns: the subsection, which is @state's, or NULL.
 */
MigrationStateFacts *
migration_facts_find_subsection(const MigrationStateFacts *state,
                                const char *name);

/**
 * migration_facts_add_combinations: a structure of a state says what is valid
 *
 * @structure: 1 to 255 bytes; copied
 * @valid: taken
 *
 * Returns: them, which @state owns; no set is known to be needed.
 */
MigrationCombinationFacts *
migration_facts_add_combinations(MigrationStateFacts *state,
                                 const char *structure, Combinations *valid);

/**
 * migration_facts_find_combinations: what does a structure say is valid?
 *
 * @state: NULL has none
 *
 * Returns: them, which are @state's, or NULL.
 */
MigrationCombinationFacts *
migration_facts_find_combinations(const MigrationStateFacts *state,
                                  const char *structure);

/**
 * migration_facts_need: one of those structures has these subsections now
 *
 * @set: its numbers are those of @c->valid
 */
void migration_facts_need(MigrationCombinationFacts *c, uint64_t set);

/**
 * migration_facts_check: can all be saved that is needed?
 *
 * @errp: set to what is not valid, or would get lost, with its device and
 * instance
 */
bool migration_facts_check(const MigrationFacts *facts, Error **errp);

/**
 * migration_facts_find_feature: is a feature there?
 *
 * Returns: the feature, which is @facts', or NULL.
 */
const MigrationFeatureFacts *
migration_facts_find_feature(const MigrationFacts *facts, const char *name);

/**
 * migration_facts_parse: read facts from JSON text
 *
 * @json: UTF-8, need not end in a NUL; NULL if there is nothing
 * @length: in bytes; more than %MIGRATION_FACTS_SIZE_MAX is refused
 * @errp: says where in the facts something is wrong, what was expected there
 * and what came
 *
 * What it does not know it passes over.
 *
 * Returns: the facts, which the caller frees, or NULL with @errp set.
 */
MigrationFacts *migration_facts_parse(const char *json, size_t length,
                                      Error **errp);

/**
 * migration_facts_from_qdict: the same, from an object that was read already
 */
MigrationFacts *migration_facts_from_qdict(const QDict *dict, Error **errp);

/**
 * migration_facts_to_json: write facts as JSON text
 *
 * What is zero, false or empty is left out, where it may be missing.
 *
 * Returns: the text without a newline, which the caller frees.
 */
GString *migration_facts_to_json(const MigrationFacts *facts);

#endif
