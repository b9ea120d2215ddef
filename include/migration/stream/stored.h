/*
 * Migration stream version 4: which subsections a file has
 *
 * A stream that goes to a file has more subsections than the guest needs, so
 * that whoever reads it, be it older or newer, finds a combination that it
 * knows.  This is what was stored of each structure, and what was needed:
 * noted while it is saved, and asked while it is loaded.  Implements "Stored,
 * not needed" of docs/devel/migration-v4/snapshots.rst.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_STORED_H
#define MIGRATION_STREAM_STORED_H

/* Most subsections of one structure: a set of them is a uint64_t */
#define STREAM_STORED_PARTS_MAX 64

/* Most different sets that are kept of one structure */
#define STREAM_STORED_SETS_MAX 1024

/* A subsection */
typedef struct StreamStoredPart {
    char *name;
    uint32_t version;
    uint32_t times;         /* that it was saved */
    bool sometimes;         /* only where it was needed */
    bool usable;            /* this side can load it */
    GPtrArray *inside;      /* of StreamStored: what is in it */
} StreamStoredPart;

/* A structure that has subsections, in all places of one kind */
typedef struct StreamStored {
    char *name;
    uint32_t times;         /* that it was saved */
    GPtrArray *parts;       /* of StreamStoredPart */
    GArray *needed;         /* of uint64_t: sets of @parts, by their number */
} StreamStored;

/* What a section has outside of all subsections */
typedef struct StreamStoredSection {
    char *name;
    uint32_t instance_id;
    GPtrArray *inside;      /* of StreamStored */
} StreamStoredSection;

/* A list of StreamStored, and one of StreamStoredSection, that own them */
GPtrArray *stream_stored_new(void);
GPtrArray *stream_stored_sections_new(void);

/**
 * stream_stored_find: the structure of a name
 *
 * @inside: may be NULL, and has none then
 *
 * Returns: the structure, which is the list's, or NULL.
 */
StreamStored *stream_stored_find(const GPtrArray *inside, const char *name);

/* The same, made if it is not there */
StreamStored *stream_stored_get(GPtrArray *inside, const char *name);

/**
 * stream_stored_part: the subsection of a name
 *
 * Returns: its number among the parts, or -1.
 */
int stream_stored_part(const StreamStored *stored, const char *name);

/**
 * stream_stored_numbered: the subsection of a number, as a frame has it
 *
 * @number: decimal
 *
 * Returns: the subsection, NULL if there is none, or that is no number.
 */
const StreamStoredPart *stream_stored_numbered(const StreamStored *stored,
                                               const char *number);

/**
 * stream_stored_add_part: one more subsection
 *
 * Returns: its number; -1 if there are %STREAM_STORED_PARTS_MAX of them.
 */
int stream_stored_add_part(StreamStored *stored, const char *name,
                           uint32_t version);

/**
 * stream_sets_add: a list of sets gets one more, unless it has it
 *
 * @sets: of uint64_t
 * @most: how many it may have; more are left out
 */
void stream_sets_add(GArray *sets, uint64_t set, unsigned most);

/**
 * stream_stored_need: note what one of the structures needs
 *
 * @set: of parts, by their number.  Those that are known already are kept once,
 * and no more than %STREAM_STORED_SETS_MAX.
 */
void stream_stored_need(StreamStored *stored, uint64_t set);

/**
 * stream_stored_section: the structures of a section
 *
 * Returns: the list, which is that of @sections, or NULL.
 */
GPtrArray *stream_stored_section(const GPtrArray *sections, const char *name,
                                 uint32_t instance_id);

/* The same, made if it is not there */
GPtrArray *stream_stored_get_section(GPtrArray *sections, const char *name,
                                     uint32_t instance_id);

/**
 * stream_stored_add_section: a section has these structures
 *
 * @inside: taken
 */
void stream_stored_add_section(GPtrArray *sections, const char *name,
                               uint32_t instance_id, GPtrArray *inside);

/* Everything was saved: some are there only sometimes */
void stream_stored_finish(GPtrArray *sections);

#endif
