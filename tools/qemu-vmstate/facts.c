/*
 * qemu-vmstate: what QEMUs say of themselves, out of a file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qmp/qjson.h"
#include "facts.h"

/* Facts that are laid out for people take more than those that are sent */
#define FILE_MAX (16 * MiB)

MigrationFacts *tool_facts_parse(const char *json, size_t length,
                                 Error **errp)
{
    g_autofree char *text = NULL;
    MigrationFacts *facts = NULL;
    QObject *object;
    QDict *dict;

    text = g_strndup(length ? json : "", length);
    if (strlen(text) < length) {
        error_setg(errp, "it is no text: there is a NUL in it");
        return NULL;
    }
    object = qobject_from_json(text, errp);
    if (!object) {
        error_prepend(errp, "it is no proper JSON: ");
        return NULL;
    }
    dict = qobject_to(QDict, object);
    if (dict && qdict_haskey(dict, "return")) {
        dict = qobject_to(QDict, qdict_get(dict, "return"));
    }
    if (dict) {
        facts = migration_facts_from_qdict(dict, errp);
    } else {
        error_setg(errp, "it is no answer to query-vmstate: expected an "
                   "object");
    }
    qobject_unref(object);
    return facts;
}

/* All that there is, or NULL */
static GByteArray *read_all(int fd, Error **errp)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    uint8_t chunk[4096];
    ssize_t n;

    do {
        TFR(n = read(fd, chunk, sizeof(chunk)));
        if (n < 0) {
            error_setg_errno(errp, errno, "cannot read");
            return NULL;
        }
        if (all->len + n > FILE_MAX) {
            error_setg(errp, "the file is too long for an answer to "
                       "query-vmstate: expected %d MiB at most",
                       (int)(FILE_MAX / MiB));
            return NULL;
        }
        g_byte_array_append(all, chunk, n);
    } while (n);
    return g_steal_pointer(&all);
}

MigrationFacts *tool_facts_read(const char *name, Error **errp)
{
    bool standard = !strcmp(name, "-");
    g_autoptr(GByteArray) all = NULL;
    struct stat st;
    int fd = STDIN_FILENO;

    if (!standard && !stat(name, &st) && S_ISSOCK(st.st_mode)) {
        return tool_facts_ask(name, errp);
    }
    if (!standard) {
        fd = open(name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            error_setg_errno(errp, errno, "cannot open");
            return NULL;
        }
    }
    all = read_all(fd, errp);
    if (!standard) {
        close(fd);
    }
    return all ? tool_facts_parse((char *)all->data, all->len, errp) : NULL;
}
