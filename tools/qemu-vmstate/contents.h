/*
 * qemu-vmstate: what is in a stream
 *
 * The model that all commands work on: the sections in their order, and of
 * those of devices, if it is asked for, the state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_VMSTATE_CONTENTS_H
#define QEMU_VMSTATE_CONTENTS_H

#include "qapi/qmp/qdict.h"
#include "migration/compat/facts.h"
#include "packets.h"
#include "tool.h"

/* Most device state that is kept, in bytes */
#define STATE_MAX (128 * MiB)

/* The version of the streams that QEMU has always sent */
#define OLD_VERSION 3

/* A run of state, and where it stood */
typedef struct Run {
    size_t begin;           /* in the state */
    uint64_t offset;        /* in the stream, of its record if it has one */
} Run;

typedef struct Section {
    uint32_t id;
    StreamIdent ident;
    bool live;              /* sent while the guest ran: memory and such */
    bool optional;
    bool wanted;            /* its state is asked for */
    uint64_t records;
    uint64_t bytes;         /* in the stream, headers included */
    GByteArray *state;      /* without identification; NULL if it isn't kept */
    GArray *runs;           /* of Run: where the state stood */
    const QDict *description;   /* part of that of the contents */
} Section;

/* Records that belong to no section, by their type */
#define OTHER_TYPES 20

typedef struct Other {
    uint64_t records;
    uint64_t bytes;
} Other;

typedef struct Contents {
    /* What is asked for; set by the caller */
    bool want_state;
    const char *want_section;   /* NAME or NAME/INSTANCE; NULL: all */

    /* What was found */
    uint32_t version;
    char machine[256];      /* empty if it isn't known */
    GPtrArray *sections;    /* of Section */
    Other others[OTHER_TYPES];
    uint64_t records;
    uint64_t bytes;
    PacketCounts packets;   /* of memory */
    uint64_t live_bytes;    /* version 3: all that is before the devices */
    uint64_t kept;          /* bytes of state */
    unsigned not_kept;      /* sections whose state was too much */
    GPtrArray *skipped;     /* names of what was optional and unknown */
    uint64_t skipped_more;  /* how many there were beyond these */
    QDict *description;     /* NULL if there is none */
    MigrationFacts *facts;  /* NULL if there are none */
} Contents;

Contents *contents_new(void);
void contents_free(Contents *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Contents, contents_free)

/**
 * contents_read: read a stream to its end and check it
 *
 * On failure what was found before is there.
 */
bool contents_read(Contents *c, Source *source, Error **errp);

/* Whether the caller asks for the state of the section */
bool contents_wants(const Contents *c, const StreamIdent *ident);

/* Adds a section, which is the contents' */
Section *contents_add(Contents *c, uint32_t id, const StreamIdent *ident);

/* Adds state; @offset is that of a run */
void section_append(Section *section, const void *data, size_t length,
                    uint64_t offset);

/* Where a byte of a section's state stood: the offset of its run */
uint64_t section_offset(const Section *section, size_t at);

/**
 * contents_described: has a device's section a description, or may it lack one?
 *
 * Only for contents with a description.  One that is optional is noted as
 * skipped.
 */
bool contents_described(Contents *c, const Section *section, Error **errp);

/* Notes that something optional is not known */
void contents_skip(Contents *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* The two versions, behind the preamble */
bool contents_read_v3(Contents *c, Source *source, Error **errp);
bool contents_read_v4(Contents *c, StreamReader *reader, Source *source,
                      Error **errp);

#endif
