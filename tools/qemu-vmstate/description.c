/*
 * qemu-vmstate: what a stream says of the devices in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "description.h"

/* What can be added up without an overflow, and is more than there ever is */
#define SIZE_LIMIT (1 * TiB)

/* Most of what the parser complains about that is repeated, in characters */
#define COMPLAINT_MAX 100

/* A name that can be put on a terminal */
static bool is_proper(const char *name)
{
    size_t length = 0;

    while (name && g_ascii_isprint(name[length])) {
        length++;
    }
    return length > 0 && length <= 255 && !name[length];
}

/* What the parser says has bytes of the description in it */
static void refuse_json(Error *err, Error **errp)
{
    g_autofree char *said = g_strndup(error_get_pretty(err), COMPLAINT_MAX);
    char *p;

    for (p = said; *p; p++) {
        *p = g_ascii_isprint(*p) ? *p : '?';
    }
    error_setg(errp, "the description is no proper JSON: %s", said);
    error_free(err);
}

QDict *description_parse(const char *text, size_t length, Error **errp)
{
    g_autofree char *string = NULL;
    Error *err = NULL;
    size_t i, objects = 0;
    QObject *object;
    QDict *dict;

    if (length > DESCRIPTION_MAX) {
        error_setg(errp, "the description is too long: expected at most %"
                   PRIu64 " bytes, got %zu", (uint64_t)DESCRIPTION_MAX, length);
        return NULL;
    }
    if (memchr(text, 0, length)) {
        error_setg(errp, "the description is no text: it has a byte 0x00");
        return NULL;
    }
    for (i = 0; i < length; i++) {
        objects += text[i] == '{';
    }
    if (objects > DESCRIPTION_OBJECTS_MAX) {
        error_setg(errp, "the description is too long: expected at most %d "
                   "objects, got %zu", DESCRIPTION_OBJECTS_MAX, objects);
        return NULL;
    }

    string = g_strndup(text, length);
    object = qobject_from_json(string, &err);
    if (err) {
        refuse_json(err, errp);
        return NULL;
    }
    dict = qobject_to(QDict, object);
    if (!dict || !description_devices(dict)) {
        error_setg(errp, "the description has no list 'devices'");
        qobject_unref(object);
        return NULL;
    }
    return dict;
}

const QList *description_devices(const QDict *description)
{
    return qobject_to(QList, qdict_get(description, "devices"));
}

bool description_ident(const QDict *device, StreamIdent *ident, Error **errp)
{
    const char *name = device ? qdict_get_try_str(device, "name") : NULL;
    int64_t instance = device ? qdict_get_try_int(device, "instance_id", -1)
                              : -1;

    if (!is_proper(name) || instance < 0 || instance > UINT32_MAX) {
        error_setg(errp, "the description has a device without a proper name "
                   "or instance");
        return false;
    }
    *ident = (StreamIdent) {
        .instance_id = instance,
        .version_id = qdict_get_try_int(device, "version", 0),
    };
    pstrcpy(ident->name, sizeof(ident->name), name);
    return true;
}

static guint ident_hash(gconstpointer key)
{
    const StreamIdent *ident = key;

    return g_str_hash(ident->name) ^ ident->instance_id;
}

static gboolean ident_equal(gconstpointer one, gconstpointer other)
{
    const StreamIdent *a = one, *b = other;

    return a->instance_id == b->instance_id && !strcmp(a->name, b->name);
}

bool description_attach(Contents *c, Error **errp)
{
    g_autoptr(GHashTable) by_ident = g_hash_table_new(ident_hash, ident_equal);
    const QListEntry *entry;
    unsigned i;

    for (i = 0; i < c->sections->len; i++) {
        Section *section = g_ptr_array_index(c->sections, i);

        g_hash_table_insert(by_ident, &section->ident, section);
    }
    QLIST_FOREACH_ENTRY(description_devices(c->description), entry) {
        const QDict *device = qobject_to(QDict, entry->value);
        StreamIdent ident;
        Section *section;

        if (!description_ident(device, &ident, errp)) {
            return false;
        }
        section = g_hash_table_lookup(by_ident, &ident);
        if (!section || section->description) {
            error_setg(errp, "the description has device '%s' (instance %"
                       PRIu32 ") %s", ident.name, ident.instance_id,
                       section ? "twice" : "which has no section");
            return false;
        }
        section->description = device;
    }
    return true;
}

const char *description_name(const QDict *structure)
{
    const char *name = qdict_get_try_str(structure, "vmsd_name");

    return is_proper(name) ? name : NULL;
}

/* The fields that are inside of one, wherever the description has them */
static const QDict *field_structure(const QDict *dict, const char *type)
{
    const QDict *structure = qobject_to(QDict, qdict_get(dict, "struct"));

    /* These are described in the field itself */
    if (!structure && qdict_haskey(dict, "fields") &&
        (g_str_equal(type, "vstruct") || g_str_equal(type, "tmp"))) {
        return dict;
    }
    return structure;
}

bool description_field(const QObject *object, Field *field, Error **errp)
{
    const QDict *dict = qobject_to(QDict, object);
    int64_t size, elements, index;

    field->name = dict ? qdict_get_try_str(dict, "name") : NULL;
    if (!is_proper(field->name)) {
        error_setg(errp, "the description has a field without a proper name");
        return false;
    }
    field->type = qdict_get_try_str(dict, "type") ?: "unknown";
    field->is_array = qdict_haskey(dict, "array_len");
    field->has_index = qdict_haskey(dict, "index");
    size = qdict_get_try_int(dict, "size", -1);
    elements = field->is_array ? qdict_get_try_int(dict, "array_len", -1) : 1;
    index = field->has_index ? qdict_get_try_int(dict, "index", -1) : 0;
    if (size < 0 || size > SIZE_LIMIT || elements < 0 ||
        elements > SIZE_LIMIT || index < 0 ||
        (field->is_array && field->has_index)) {
        error_setg(errp, "the description has no proper size or number of "
                   "elements for field '%s'", field->name);
        return false;
    }
    field->size = size;
    field->elements = elements;
    field->index = index;
    field->structure = field_structure(dict, field->type);
    return true;
}

/* Adds @count times @size */
static bool add_size(uint64_t *sum, uint64_t count, uint64_t size,
                     Error **errp)
{
    if (size && count > (SIZE_LIMIT - *sum) / size) {
        error_setg(errp, "the description tells of more bytes than there are");
        return false;
    }
    *sum += count * size;
    return true;
}

bool description_size(const QDict *structure, uint64_t *size, Error **errp)
{
    const QList *fields = qobject_to(QList, qdict_get(structure, "fields"));
    const QList *subs = qobject_to(QList, qdict_get(structure, "subsections"));
    const QListEntry *entry;

    *size = 0;
    for (entry = fields ? qlist_first(fields) : NULL; entry;
         entry = qlist_next(entry)) {
        Field field;

        if (!description_field(entry->value, &field, errp) ||
            !add_size(size, field.elements, field.size, errp)) {
            return false;
        }
    }
    for (entry = subs ? qlist_first(subs) : NULL; entry;
         entry = qlist_next(entry)) {
        const QDict *sub = qobject_to(QDict, entry->value);
        const char *name = sub ? description_name(sub) : NULL;
        uint64_t inner;

        if (!name) {
            error_setg(errp, "the description has a subsection without a name");
            return false;
        }
        if (!description_size(sub, &inner, errp) ||
            !add_size(size, 1, 1 + 1 + strlen(name) + 4 + inner, errp)) {
            return false;
        }
    }
    return true;
}
