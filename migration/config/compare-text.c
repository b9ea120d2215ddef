/*
 * Two machines: what they differ in, noted and in words
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#include "migration/stream/record.h"
#include "compare-parts.h"

/* How much of a value or a path is shown in a sentence, in bytes */
#define SHOWN_MAX 160

bool compare_listed(const char *const *names, const char *name)
{
    for (; names && *names; names++) {
        if (!strcmp(*names, name)) {
            return true;
        }
    }
    return false;
}

char *compare_value(const QObject *value)
{
    return value ? g_string_free(qobject_to_json(value), false) : NULL;
}

/* What a shell would not take as it is */
static char *quote(const char *text)
{
    return text[strcspn(text, " \t\n'\"\\$&;()<>|*?[]`#~!{}")] ?
           g_shell_quote(text) : g_strdup(text);
}

char *compare_option(const QObject *value)
{
    QString *string = qobject_to(QString, value);
    QBool *boolean = qobject_to(QBool, value);
    g_auto(GStrv) parts = NULL;
    g_autofree char *text = NULL;

    if (boolean) {
        return g_strdup(qbool_get_bool(boolean) ? "on" : "off");
    } else if (string) {
        parts = g_strsplit(qstring_get_str(string), ",", -1);
        text = g_strjoinv(",,", parts);
    } else {
        text = compare_value(value);
    }
    return quote(text);
}

void compare_note(Comparison *c, const MachineConfigDevice *device,
                  Weight weight, char *property, char *source,
                  char *destination, char *advice)
{
    MachineDifference *d = g_new0(MachineDifference, 1);

    if (device) {
        d->has_path = true;
        d->path = g_strdup(device->path);
        d->has_id = device->has_id;
        d->id = g_strdup(device->id);
    }
    d->property = property;
    d->has_source = source;
    d->source = source;
    d->has_destination = destination;
    d->destination = destination;
    d->guest_visible = true;
    d->fatal = weight == WEIGHT_FATAL;
    d->has_advice = advice;
    d->advice = advice;
    g_ptr_array_add(c->found, d);
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return strcmp(*x, *y);
}

/* The names of all members that differ, sorted; they are the objects' */
static GPtrArray *differing(const QDict *here, const QDict *there,
                            const char *const *skip)
{
    GPtrArray *names = g_ptr_array_new();
    const QDictEntry *e;

    for (e = qdict_first(here); e; e = qdict_next(here, e)) {
        const char *name = qdict_entry_key(e);

        if (!compare_listed(skip, name) &&
            !qobject_is_equal(qdict_entry_value(e), qdict_get(there, name))) {
            g_ptr_array_add(names, (gpointer)name);
        }
    }
    for (e = qdict_first(there); e; e = qdict_next(there, e)) {
        const char *name = qdict_entry_key(e);

        if (!compare_listed(skip, name) && !qdict_haskey(here, name)) {
            g_ptr_array_add(names, (gpointer)name);
        }
    }
    g_ptr_array_sort(names, compare_names);
    return names;
}

void compare_members(Comparison *c, const MachineConfigDevice *device,
                     const char *prefix, const QObject *source,
                     const QObject *destination, const char *const *skip,
                     CompareWeight *weight, CompareAdvice *advice)
{
    const QDict *here = qobject_to(QDict, source);
    const QDict *there = qobject_to(QDict, destination);
    g_autoptr(GPtrArray) names = differing(here, there, skip);

    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        const QObject *a = qdict_get(here, name), *b = qdict_get(there, name);
        Weight heavy = !a || !b ? WEIGHT_REMARK
                     : weight ? weight(name) : WEIGHT_FATAL;

        compare_note(c, device, heavy, g_strdup_printf("%s%s", prefix, name),
                     compare_value(a), compare_value(b),
                     a && b && advice ? advice(c, device, name, a) : NULL);
    }
}

/* In words */

static void add_shown(GString *line, const char *text, const char *quote)
{
    g_autofree char *shown = stream_text_mend(text, strlen(text), SHOWN_MAX);
    g_auto(GStrv) words = g_strsplit(shown, "\n", -1);
    g_autofree char *flat = g_strjoinv(" ", words);

    g_string_append_printf(line, "%s%s%s%s", quote, flat,
                           strlen(text) > SHOWN_MAX ? "..." : "", quote);
}

char *machine_difference_to_text(const MachineDifference *d)
{
    GString *line = g_string_new(d->has_path || d->has_id ? "device "
                                                          : "the machine");

    if (d->has_id) {
        add_shown(line, d->id, "'");
    }
    if (d->has_path) {
        g_string_append(line, d->has_id ? " (" : "");
        add_shown(line, d->path, "");
        g_string_append(line, d->has_id ? ")" : "");
    }
    g_string_append(line, ": ");
    add_shown(line, d->property, "'");
    g_string_append(line, " is ");
    add_shown(line, d->has_source ? d->source : "not there", "");
    g_string_append(line, " on the source and ");
    add_shown(line, d->has_destination ? d->destination : "not there", "");
    g_string_append(line, " on the destination");
    if (d->has_advice) {
        g_string_append(line, "; ");
        add_shown(line, d->advice, "");
    }
    return g_string_free(line, false);
}

char *machine_differences_to_text(const MachineDifferenceList *differences,
                                  bool fatal, size_t most)
{
    GString *text = g_string_new(NULL);
    unsigned shown = 0, more = 0;

    for (; differences; differences = differences->next) {
        g_autofree char *line = NULL;

        if (fatal && !differences->value->fatal) {
            continue;
        }
        line = machine_difference_to_text(differences->value);
        if (more || shown == MACHINE_DIFFERENCES_SHOWN ||
            text->len + strlen(line) + 1 > most) {
            more++;
        } else {
            g_string_append_printf(text, "\n%s", line);
            shown++;
        }
    }
    if (more) {
        g_string_append_printf(text, "\nand %u more", more);
    }
    return g_string_free(text, false);
}
