/*
 * What two sides of a migration can agree on
 *
 * A pure function of what both say of themselves: both sides call it, and come
 * to the same.  Implements "Negotiation" of
 * docs/devel/migration-v4/planning.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_NEGOTIATE_H
#define MIGRATION_COMPAT_NEGOTIATE_H

#include "migration/compat/facts.h"

/* How many refusals one message has */
#define MIGRATION_REFUSALS_SHOWN 16

/* What becomes of a state of the source: of a device, or of a subsection */
typedef enum MigrationFate {
    MIGRATION_FATE_SENT,        /* sent, at the agreed version */
    MIGRATION_FATE_LEFT_OFF,    /* not sent: optional, and unknown there */
    MIGRATION_FATE_REFUSED,     /* must not be needed: cannot be read there */
} MigrationFate;

/* What is agreed about a device of the source, or about a subsection of it */
typedef struct MigrationChoice {
    char *name;
    uint32_t instance;          /* of the device */
    MigrationFate fate;
    uint32_t version;           /* to be saved at, if it is sent */
    uint32_t minimum;           /* the oldest that both sides can */
    GHashTable *subsections;    /* of a device: all at any depth, by name */
} MigrationChoice;

/* Something that was found, about the whole or about a device */
typedef struct MigrationRemark {
    char *device;               /* NULL if about the whole */
    uint32_t instance;
    bool fatal;                 /* the guest cannot go; else a note */
    char *text;
} MigrationRemark;

typedef struct MigrationAgreement {
    uint32_t stream_version;    /* 0 if there is none in common */
    GPtrArray *features;        /* names of those that are on */
    GPtrArray *left_off;        /* names of those that one side has */
    GPtrArray *devices;         /* of MigrationChoice, as they are saved */
    GHashTable *by_name;        /* the same */
    GPtrArray *remarks;         /* of MigrationRemark, as they were found */
    unsigned refusals;          /* how many of these are fatal */
} MigrationAgreement;

/**
 * migration_negotiate: what a source and a destination agree on
 *
 * The newest choice that both have wins: of the version of the stream, and of
 * the version of each device's state.
 *
 * Returns: the agreement, which the caller frees and which outlives the facts.
 * Look at migration_agreement_check() first.
 */
MigrationAgreement *migration_negotiate(const MigrationFacts *source,
                                        const MigrationFacts *destination);

void migration_agreement_free(MigrationAgreement *agreement);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigrationAgreement, migration_agreement_free)

/**
 * migration_agreement_check: can the guest go?
 *
 * @errp: set to all refusals, the first %MIGRATION_REFUSALS_SHOWN of them in
 * words, each with its device and instance
 *
 * Returns: %true if nothing was refused.
 */
bool migration_agreement_check(const MigrationAgreement *agreement,
                               Error **errp);

/**
 * migration_remark_to_text: a remark with what it is about
 *
 * Returns: the text, which the caller frees.
 */
char *migration_remark_to_text(const MigrationRemark *remark);

/**
 * migration_agreement_has_feature: is a feature on?
 *
 * @agreement: NULL if there is none, which has no feature
 */
bool migration_agreement_has_feature(const MigrationAgreement *agreement,
                                     const char *name);

/**
 * migration_agreement_device: what is agreed about a device of the source
 *
 * Returns: the choice, which is @agreement's; NULL for one that was not there
 * when the agreement was made.
 */
const MigrationChoice *
migration_agreement_device(const MigrationAgreement *agreement,
                           const char *name, uint32_t instance);

/**
 * migration_choice_subsection: what is agreed about a device's subsection
 *
 * @device: from migration_agreement_device()
 *
 * Returns: the choice, which is the agreement's; NULL for one that the source
 * has said nothing of.
 */
const MigrationChoice *
migration_choice_subsection(const MigrationChoice *device, const char *name);

#endif
