/*
 * Options of a command line, as text
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#include "plan-options.h"

/* Of members: those of QAPI's names, and of properties' */
#define NAME_CHARACTERS \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

/* Reading */

/* The text up to a comma that is not doubled; @p is moved behind the comma */
static char *take_part(const char **p)
{
    GString *part = g_string_new(NULL);

    while (**p && (**p != ',' || (*p)[1] == ',')) {
        *p += **p == ',';
        g_string_append_c(part, *(*p)++);
    }
    *p += **p == ',';
    return g_string_free(part, false);
}

static QDict *parse_words(const char *value, const char *implied, size_t most)
{
    QDict *dict = qdict_new();

    while (*value) {
        g_autofree char *part = take_part(&value);
        char *equals = strchr(part, '=');

        if (equals) {
            *equals = '\0';
            qdict_put_str(dict, part, equals + 1);
        } else if (implied) {
            qdict_put_str(dict, implied, part);
        } else {
            qdict_put_str(dict, part, "on");
        }
        implied = NULL;
        if (qdict_size(dict) > most) {
            qdict_put_str(dict, "", value);
            break;
        }
    }
    return dict;
}

QDict *machine_option_words(const char *value, const char *implied)
{
    return parse_words(value, implied, MACHINE_OPTION_MEMBERS_MAX);
}

QDict *machine_option_parse(const char *value, const char *implied)
{
    QObject *object;
    QDict *dict;

    if (*value != '{') {
        return parse_words(value, implied, SIZE_MAX);
    }
    object = qobject_from_json(value, NULL);
    dict = qobject_to(QDict, object);
    if (!dict) {
        qobject_unref(object);
    }
    return dict ?: qdict_new();
}

/* Writing */

void machine_option_append(GString *option, const char *name, const char *value)
{
    if (option->len) {
        g_string_append_c(option, ',');
    }
    if (name) {
        /* A name has no such signs: nothing will be found under this one */
        g_autofree char *plain = g_strdelimit(g_strdup(name), ",=", '?');

        g_string_append_printf(option, "%s=", plain);
    }
    for (; *value; value++) {
        if (*value == ',') {
            g_string_append_c(option, ',');
        }
        g_string_append_c(option, *value);
    }
}

/* A number, a truth or a text as it is written in an option */
static char *scalar_to_text(const QObject *value)
{
    switch (qobject_type(value)) {
    case QTYPE_QSTRING:
        return g_strdup(qstring_get_str(qobject_to(QString, value)));
    case QTYPE_QBOOL:
        return g_strdup(qbool_get_bool(qobject_to(QBool, value)) ? "on"
                                                                 : "off");
    case QTYPE_QNUM:
        return qnum_to_string(qobject_to(QNum, value));
    default:
        return NULL;
    }
}

void machine_option_append_object(GString *option, const char *name,
                                  const QObject *value)
{
    const QDict *dict = qobject_to(QDict, value);
    const QList *list = qobject_to(QList, value);
    g_autofree char *text = scalar_to_text(value);
    const QListEntry *le;
    unsigned i = 0;

    if (text) {
        machine_option_append(option, name, text);
    }
    for (const QDictEntry *e = dict ? qdict_first(dict) : NULL; e;
         e = qdict_next(dict, e)) {
        g_autofree char *part = g_strdup_printf("%s.%s", name,
                                                qdict_entry_key(e));

        machine_option_append_object(option, part, qdict_entry_value(e));
    }
    if (list) {
        QLIST_FOREACH_ENTRY(list, le) {
            g_autofree char *part = g_strdup_printf("%s.%u", name, i++);

            machine_option_append_object(option, part, qlist_entry_obj(le));
        }
    }
}

void machine_option_append_numa(GString *option, const QDict *members)
{
    for (const QDictEntry *e = qdict_first(members); e;
         e = qdict_next(members, e)) {
        const char *name = qdict_entry_key(e);
        QObject *value = qdict_entry_value(e);
        QList *list = qobject_to(QList, value);
        g_autofree char *text = scalar_to_text(value);
        QListEntry *le;

        if (text && !strcmp(name, "mem")) {
            /* A number alone would be in megabytes */
            g_autofree char *bytes = g_strdup_printf("%sB", text);

            machine_option_append(option, name, bytes);
        } else if (text) {
            machine_option_append(option, name, text);
        }
        if (list) {
            QLIST_FOREACH_ENTRY(list, le) {
                g_autofree char *item = scalar_to_text(qlist_entry_obj(le));

                machine_option_append(option, name, item ?: "");
            }
        }
    }
}

/* Back ends */

static const MachineBackendOption backend_options[] = {
    [MACHINE_CONFIG_BACKEND_KIND_BLOCK] =
        { "blockdev", "node-name", "driver", "drive", true },
    [MACHINE_CONFIG_BACKEND_KIND_NET] =
        { "netdev", "id", "type", NULL, true },
    [MACHINE_CONFIG_BACKEND_KIND_CHARDEV] =
        { "chardev", "id", NULL, NULL, false },
    [MACHINE_CONFIG_BACKEND_KIND_OBJECT] =
        { "object", "id", "qom-type", NULL, true },
    [MACHINE_CONFIG_BACKEND_KIND_AUDIO] =
        { "audiodev", "id", "driver", NULL, true },
    [MACHINE_CONFIG_BACKEND_KIND_TPM] =
        { "tpmdev", "id", NULL, NULL, false },
    [MACHINE_CONFIG_BACKEND_KIND_FS] =
        { "fsdev", "id", NULL, NULL, false },
};

const MachineBackendOption *machine_backend_option(MachineConfigBackendKind k)
{
    return &backend_options[k];
}

/*
 * A character device takes no JSON: the parts of its QAPI form become members
 * beside each other, some under another name.  The kind of an address follows
 * from its members.
 */
static void append_flat(GString *option, const QDict *dict, const char *prefix)
{
    static const struct {
        const char *name, *flat;
    } renamed[] = {
        { "device", "path" }, { "out", "path" }, { "in", "input-path" },
        { "str", "fd" }, { "keep-alive", "keepalive" },
    };

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        const char *name = qdict_entry_key(e);
        const QObject *value = qdict_entry_value(e);
        const QDict *inner = qobject_to(QDict, value);
        g_autofree char *text = scalar_to_text(value);
        g_autofree char *full = NULL;

        if (inner) {
            append_flat(option, inner,
                        !strcmp(name, "local") ? "local" : prefix);
            continue;
        }
        for (int i = 0; i < ARRAY_SIZE(renamed); i++) {
            if (!strcmp(renamed[i].name, name)) {
                name = renamed[i].flat;
            }
        }
        /* 'localaddr' and 'localport', beside 'host' and 'port' */
        full = g_strdup_printf("%s%s", prefix,
                               *prefix && !strcmp(name, "host") ? "addr"
                                                                : name);
        if (text && strcmp(name, "type")) {
            machine_option_append(option, full, text);
        }
    }
}

char *machine_backend_to_option(const MachineConfigBackend *backend,
                                const char *id)
{
    const MachineBackendOption *o = &backend_options[backend->kind];
    const QDict *host = qobject_to(QDict, backend->host);
    GString *text;

    if (o->json) {
        g_autoptr(QDict) dict = qdict_clone_shallow(host);

        qdict_put_str(dict, o->type, backend->type);
        qdict_put_str(dict, o->id, id);
        text = qobject_to_json(QOBJECT(dict));
    } else {
        text = g_string_new(NULL);
        machine_option_append(text, NULL, backend->type);
        machine_option_append(text, o->id, id);
        append_flat(text, host, "");
    }
    return g_string_free(text, false);
}

void machine_option_append_members(GString *option, const QDict *members)
{
    for (const QDictEntry *e = qdict_first(members); e;
         e = qdict_next(members, e)) {
        machine_option_append_object(option, qdict_entry_key(e),
                                     qdict_entry_value(e));
    }
}

const char *machine_option_bad_name(const QObject *value)
{
    const QDict *dict = qobject_to(QDict, value);
    const QList *list = qobject_to(QList, value);
    const char *bad = NULL;
    const QListEntry *le;

    if (list) {
        QLIST_FOREACH_ENTRY(list, le) {
            bad = bad ?: machine_option_bad_name(qlist_entry_obj(le));
        }
    }
    for (const QDictEntry *e = dict ? qdict_first(dict) : NULL; e && !bad;
         e = qdict_next(dict, e)) {
        const char *name = qdict_entry_key(e);

        bad = name[strspn(name, NAME_CHARACTERS)] || !*name ? name :
            machine_option_bad_name(qdict_entry_value(e));
    }
    return bad;
}
