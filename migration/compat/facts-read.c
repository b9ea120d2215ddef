/*
 * What a QEMU says of itself before a guest moves: out of JSON
 *
 * Implements "Facts" of docs/devel/migration-v4/planning.rst.  Text comes from
 * the other side, or out of a file: every length, type and count is checked,
 * and a refusal says where.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#include "migration/compat/facts.h"
#include "migration/stream/record.h"

/* How much of the JSON parser's reason is shown, in bytes */
#define REASON_MAX 256

/* How much of what a machine differs in, for each part of it */
#define TEXT_MAX 4096

/* Where in the facts reading is, "devices[3].subsections[0]" */
typedef struct Reading {
    GString *where;
    Error *err;                 /* the first that was found */
    unsigned depth;
} Reading;

static const char *type_name(const QObject *object)
{
    static const char *const names[QTYPE__MAX] = {
        [QTYPE_QNULL] = "null",
        [QTYPE_QNUM] = "a number",
        [QTYPE_QSTRING] = "a string",
        [QTYPE_QDICT] = "an object",
        [QTYPE_QLIST] = "a list",
        [QTYPE_QBOOL] = "a boolean",
    };

    return object ? names[qobject_type(object)] : "nothing";
}

static void G_GNUC_PRINTF(3, 4) fail(Reading *r, const char *key,
                                     const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    if (r->err) {
        return;
    }
    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_setg(&r->err, "%s%s%s: %s", r->where->str,
               r->where->len && key ? "." : "",
               key ?: r->where->len ? "" : "the facts", text);
}

static void fail_type(Reading *r, const char *key, const char *expected,
                      const QObject *object)
{
    fail(r, key, "expected %s, got %s", expected, type_name(object));
}

static bool read_bool(Reading *r, const QDict *dict, const char *key)
{
    QObject *object = qdict_get(dict, key);
    QBool *value = qobject_to(QBool, object);

    if (!value && object) {
        fail_type(r, key, "a boolean", object);
    }
    return value && qbool_get_bool(value);
}

/* Any number that is not one of an instance or a version is refused */
static uint32_t number_of(Reading *r, const char *key, const QObject *object)
{
    QNum *number = qobject_to(QNum, object);
    uint64_t value;

    if (!number) {
        fail_type(r, key, "a number", object);
        return 0;
    }
    if (!qnum_get_try_uint(number, &value) || value > UINT32_MAX) {
        g_autofree char *text = qnum_to_string(number);

        fail(r, key, "expected a whole number from 0 to %u, got %s",
             UINT32_MAX, text);
        return 0;
    }
    return value;
}

static uint32_t read_number(Reading *r, const QDict *dict, const char *key)
{
    return number_of(r, key, qdict_get(dict, key));
}

static const char *read_string(Reading *r, const QDict *dict, const char *key)
{
    QObject *object = qdict_get(dict, key);
    QString *string = qobject_to(QString, object);

    if (!string) {
        fail_type(r, key, "a string", object);
        return NULL;
    }
    return qstring_get_str(string);
}

/* A string that ends up in messages, and in sections */
static const char *read_name(Reading *r, const QDict *dict, const char *key)
{
    const char *name = read_string(r, dict, key);
    size_t length = name ? strlen(name) : 0;

    if (name && (length > UINT8_MAX ||
                 !stream_name_is_proper((const uint8_t *)name, length))) {
        fail(r, key, "expected a name of 1 to 255 bytes without control "
             "characters, got %zu bytes", length);
        return NULL;
    }
    return name;
}

typedef void ReadElement(Reading *r, QObject *object, void *opaque);

static void read_list(Reading *r, const QDict *dict, const char *key,
                      size_t most, ReadElement *read, void *opaque)
{
    QObject *object = qdict_get(dict, key);
    QList *list = qobject_to(QList, object);
    size_t length = r->where->len, n = 0;
    const QListEntry *entry;

    if (!list) {
        fail_type(r, key, "a list", object);
        return;
    }
    if (++r->depth > MIGRATION_FACTS_DEPTH_MAX) {
        fail(r, key, "nested too deep: expected %d levels at most",
             MIGRATION_FACTS_DEPTH_MAX);
    } else if (qlist_size(list) > most) {
        fail(r, key, "too many: expected at most %zu, got %zu", most,
             qlist_size(list));
    }
    QLIST_FOREACH_ENTRY(list, entry) {
        if (r->err) {
            break;
        }
        g_string_append_printf(r->where, "%s%s[%zu]", length ? "." : "", key,
                               n++);
        read(r, qlist_entry_obj(entry), opaque);
        g_string_truncate(r->where, length);
    }
    r->depth--;
}

/* The same for objects: NULL if it is none */
static const QDict *object_of(Reading *r, QObject *object)
{
    QDict *dict = qobject_to(QDict, object);

    if (!dict) {
        fail_type(r, NULL, "an object", object);
    }
    return dict;
}

static void read_subsection(Reading *r, QObject *object, void *opaque);

static Combinations *read_combinations_text(Reading *r, const QDict *dict,
                                            const char *key)
{
    const char *text = read_string(r, dict, key);
    Combinations *c = NULL;
    Error *err = NULL;

    if (text) {
        c = combinations_parse(text, NULL, 0, &err);
    }
    if (err) {
        const char *pretty = error_get_pretty(err);
        g_autofree char *why = stream_text_mend(pretty, strlen(pretty),
                                                REASON_MAX);

        fail(r, key, "%s", why);
        error_free(err);
    }
    return c;
}

typedef struct Needing {
    Reading *r;
    const Combinations *sets;
    MigrationCombinationFacts *c;
} Needing;

/* A set of the text that says what is needed, in the numbers of the other */
static void read_needed_set(uint64_t set, void *arg)
{
    Needing *needing = arg;
    uint64_t here = 0;

    for (unsigned i = 0; i < combinations_count(needing->sets); i++) {
        const char *name = combinations_name(needing->sets, i);
        int n = combinations_find(needing->c->valid, name);

        if (n < 0) {
            fail(needing->r, "needed", "there is no subsection '%s'", name);
            return;
        }
        here |= (set >> i & 1) << n;
    }
    migration_facts_need(needing->c, here);
}

static void read_combinations(Reading *r, QObject *object, void *opaque)
{
    const QDict *dict = object_of(r, object);
    const char *name = dict ? read_name(r, dict, "structure") : NULL;
    g_autoptr(Combinations) valid = NULL;
    g_autoptr(Combinations) sets = NULL;

    if (!name) {
        return;
    }
    if (migration_facts_find_combinations(opaque, name)) {
        fail(r, "structure", "'%s' is there twice", name);
        return;
    }
    valid = read_combinations_text(r, dict, "combinations");
    if (valid && qdict_haskey(dict, "needed")) {
        sets = read_combinations_text(r, dict, "needed");
        if (sets && !combinations_is_list(sets, MIGRATION_FACTS_LIST_MAX)) {
            fail(r, "needed", "expected at most %d sets, without brackets",
                 MIGRATION_FACTS_LIST_MAX);
            return;
        }
    }
    if (valid) {
        Needing needing = {
            .r = r,
            .sets = sets,
            .c = migration_facts_add_combinations(opaque, name,
                                                  g_steal_pointer(&valid)),
        };

        if (sets) {
            combinations_foreach(sets, MIGRATION_FACTS_LIST_MAX,
                                 read_needed_set, &needing);
        }
    }
}

static void check_minimum(Reading *r, const char *key, uint32_t minimum,
                          const MigrationStateFacts *state)
{
    if (minimum > state->version) {
        fail(r, key, "expected at most the version, %" PRIu32 ", got %" PRIu32,
             state->version, minimum);
    }
}

static void read_state(Reading *r, const QDict *dict,
                       MigrationStateFacts *state)
{
    state->version = read_number(r, dict, "version");
    state->minimum_version = state->version;
    if (qdict_haskey(dict, "minimum-version")) {
        state->minimum_version = read_number(r, dict, "minimum-version");
    }
    state->minimum_saved = state->minimum_version;
    if (qdict_haskey(dict, "minimum-saved-version")) {
        state->minimum_saved = read_number(r, dict, "minimum-saved-version");
    }
    check_minimum(r, "minimum-version", state->minimum_version, state);
    check_minimum(r, "minimum-saved-version", state->minimum_saved, state);
    if (qdict_haskey(dict, "saved-version")) {
        state->has_saved = true;
        state->saved = read_number(r, dict, "saved-version");
        check_minimum(r, "saved-version", state->saved, state);
    }
    state->optional = read_bool(r, dict, "optional");
    state->needed = read_bool(r, dict, "needed");
    if (qdict_haskey(dict, "subsections")) {
        read_list(r, dict, "subsections", MIGRATION_FACTS_LIST_MAX,
                  read_subsection, state);
    }
    if (qdict_haskey(dict, "combinations")) {
        read_list(r, dict, "combinations", MIGRATION_FACTS_LIST_MAX,
                  read_combinations, state);
    }
}

static void read_subsection(Reading *r, QObject *object, void *opaque)
{
    const QDict *dict = object_of(r, object);
    const char *name = dict ? read_name(r, dict, "name") : NULL;

    if (!name) {
        return;
    }
    if (migration_facts_find_subsection(opaque, name)) {
        fail(r, "name", "'%s' is there twice", name);
        return;
    }
    read_state(r, dict, migration_facts_add_subsection(opaque, name));
}

/* What a file has */

static void read_stored(Reading *r, QObject *object, void *opaque);

static void read_stored_part(Reading *r, QObject *object, void *opaque)
{
    const QDict *dict = object_of(r, object);
    const char *name = dict ? read_name(r, dict, "name") : NULL;
    StreamStoredPart *part;
    int n;

    if (!name) {
        return;
    }
    if (stream_stored_part(opaque, name) >= 0) {
        fail(r, "name", "'%s' is there twice", name);
        return;
    }
    n = stream_stored_add_part(opaque, name, read_number(r, dict, "version"));
    part = ((StreamStored *)opaque)->parts->pdata[n];
    part->sometimes = read_bool(r, dict, "sometimes");
    if (qdict_haskey(dict, "stored")) {
        read_list(r, dict, "stored", MIGRATION_FACTS_LIST_MAX, read_stored,
                  part->inside);
    }
}

static void read_stored_set(Reading *r, QObject *object, void *opaque)
{
    QList *list = qobject_to(QList, object);
    const QListEntry *entry;
    uint64_t set = 0;

    if (!list) {
        fail_type(r, NULL, "a list", object);
        return;
    }
    QLIST_FOREACH_ENTRY(list, entry) {
        QString *name = qobject_to(QString, qlist_entry_obj(entry));
        int n = name ? stream_stored_part(opaque, qstring_get_str(name)) : -1;

        if (n < 0) {
            fail(r, NULL, "expected names of subsections that are stored, got "
                 "%s", name ? "another" : type_name(qlist_entry_obj(entry)));
            return;
        }
        set |= 1ULL << n;
    }
    stream_stored_need(opaque, set);
}

static void read_stored(Reading *r, QObject *object, void *opaque)
{
    const QDict *dict = object_of(r, object);
    const char *name = dict ? read_name(r, dict, "structure") : NULL;
    StreamStored *stored;

    if (!name) {
        return;
    }
    if (stream_stored_find(opaque, name)) {
        fail(r, "structure", "'%s' is there twice", name);
        return;
    }
    stored = stream_stored_get(opaque, name);
    read_list(r, dict, "subsections", STREAM_STORED_PARTS_MAX,
              read_stored_part, stored);
    read_list(r, dict, "needed", STREAM_STORED_SETS_MAX, read_stored_set,
              stored);
}

static void read_device(Reading *r, QObject *object, void *opaque)
{
    const QDict *dict = object_of(r, object);
    const char *name = dict ? read_name(r, dict, "name") : NULL;
    MigrationDeviceFacts *device;

    if (!name) {
        return;
    }
    device = migration_facts_add_device(opaque, name,
                                        read_number(r, dict, "instance"));
    read_state(r, dict, &device->state);
    device->expected = read_bool(r, dict, "expected");
    if (qdict_haskey(dict, "alias")) {
        device->alias = g_strdup(read_name(r, dict, "alias"));
        device->alias_instance = read_number(r, dict, "alias-instance");
    }
    if (qdict_haskey(dict, "legacy-instance")) {
        device->has_legacy_instance = true;
        device->legacy_instance = read_number(r, dict, "legacy-instance");
    }
    if (qdict_haskey(dict, "stored")) {
        device->stored = stream_stored_new();
        read_list(r, dict, "stored", MIGRATION_FACTS_LIST_MAX, read_stored,
                  device->stored);
    }
}

static void read_feature(Reading *r, QObject *object, void *opaque)
{
    const QDict *dict = object_of(r, object);
    const char *name = dict ? read_name(r, dict, "name") : NULL;

    if (!name) {
        return;
    }
    if (migration_facts_find_feature(opaque, name)) {
        fail(r, "name", "'%s' is there twice", name);
        return;
    }
    migration_facts_add_feature(opaque, name, read_bool(r, dict, "required"));
}

/* Something that is shown to people; NULL if it may be missing and is */
static char *read_text(Reading *r, const QDict *dict, const char *key,
                       bool *has)
{
    const char *text;

    if (has) {
        *has = qdict_haskey(dict, key);
    }
    text = has && !*has ? NULL : read_string(r, dict, key);
    return text ? stream_text_mend(text, strlen(text), TEXT_MAX) : NULL;
}

static void read_difference(Reading *r, QObject *object, void *opaque)
{
    MachineDifferenceList ***tail = opaque;
    const QDict *dict = object_of(r, object);
    MachineDifference *d;

    if (!dict) {
        return;
    }
    d = g_new0(MachineDifference, 1);
    QAPI_LIST_APPEND(*tail, d);
    d->path = read_text(r, dict, "path", &d->has_path);
    d->id = read_text(r, dict, "id", &d->has_id);
    d->property = read_text(r, dict, "property", NULL);
    d->source = read_text(r, dict, "source", &d->has_source);
    d->destination = read_text(r, dict, "destination", &d->has_destination);
    d->guest_visible = read_bool(r, dict, "guest-visible");
    d->fatal = read_bool(r, dict, "fatal");
    d->advice = read_text(r, dict, "advice", &d->has_advice);
}

static void read_stream_version(Reading *r, QObject *object, void *opaque)
{
    migration_facts_add_stream_version(opaque, number_of(r, NULL, object));
}

static void read_qemu(Reading *r, QObject *object, MigrationFacts *facts)
{
    QDict *dict = qobject_to(QDict, object);

    if (!dict) {
        fail_type(r, "qemu", "an object", object);
        return;
    }
    g_string_assign(r->where, "qemu");
    facts->qemu_version = g_strdup(read_name(r, dict, "version"));
    if (qdict_haskey(dict, "package")) {
        facts->qemu_package = g_strdup(read_name(r, dict, "package"));
    }
    g_string_truncate(r->where, 0);
}

static void read_token(Reading *r, const QDict *dict, MigrationFacts *facts)
{
    const char *text = read_string(r, dict, "token");
    size_t digits = text ? strspn(text, "0123456789abcdefABCDEF") : 0;

    if (text && (digits != 16 || text[digits])) {
        fail(r, "token", "expected 16 hexadecimal digits");
    } else if (text) {
        facts->has_token = true;
        facts->token = g_ascii_strtoull(text, NULL, 16);
    }
}

MigrationFacts *migration_facts_from_qdict(const QDict *dict, Error **errp)
{
    g_autoptr(MigrationFacts) facts = migration_facts_new();
    MachineDifferenceList **differences = &facts->differences;
    Reading r = { .where = g_string_new(NULL) };

    read_qemu(&r, qdict_get(dict, "qemu"), facts);
    facts->machine = g_strdup(read_name(&r, dict, "machine"));
    if (qdict_haskey(dict, "guest-machine")) {
        facts->guest_machine = g_strdup(read_name(&r, dict, "guest-machine"));
    } else {
        facts->guest_machine = g_strdup(facts->machine);
    }
    if (qdict_haskey(dict, "token")) {
        read_token(&r, dict, facts);
    }
    read_list(&r, dict, "stream-versions", MIGRATION_FACTS_LIST_MAX,
              read_stream_version, facts);
    read_list(&r, dict, "features", MIGRATION_FACTS_LIST_MAX, read_feature,
              facts);
    read_list(&r, dict, "devices", MIGRATION_FACTS_DEVICES_MAX, read_device,
              facts);
    if (qdict_haskey(dict, "machine-differences")) {
        read_list(&r, dict, "machine-differences", MIGRATION_FACTS_LIST_MAX,
                  read_difference, &differences);
    }
    g_string_free(r.where, true);
    if (r.err) {
        error_propagate(errp, r.err);
        return NULL;
    }
    return g_steal_pointer(&facts);
}

MigrationFacts *migration_facts_parse(const char *json, size_t length,
                                      Error **errp)
{
    g_autofree char *text = NULL;
    MigrationFacts *facts = NULL;
    Error *err = NULL;
    QObject *object;
    QDict *dict;

    if (length > MIGRATION_FACTS_SIZE_MAX) {
        error_setg(errp, "the facts are too long: expected %d bytes at most, "
                   "got %zu", (int)MIGRATION_FACTS_SIZE_MAX, length);
        return NULL;
    }
    text = g_strndup(length ? json : "", length);
    if (strlen(text) < length) {
        error_setg(errp, "the facts are no text: there is a NUL in them");
        return NULL;
    }
    object = qobject_from_json(text, &err);
    if (!object) {
        /* The parser quotes what it does not like, all of it and as it came */
        const char *pretty = error_get_pretty(err);
        g_autofree char *why = stream_text_mend(pretty, strlen(pretty),
                                                REASON_MAX);

        error_setg(errp, "the facts are no proper JSON: %s", why);
        error_free(err);
        return NULL;
    }
    dict = qobject_to(QDict, object);
    if (dict) {
        facts = migration_facts_from_qdict(dict, errp);
    } else {
        error_setg(errp, "the facts: expected an object, got %s",
                   type_name(object));
    }
    qobject_unref(object);
    return facts;
}
