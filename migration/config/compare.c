/*
 * Two machines: in what they differ, and whether a guest could notice
 *
 * Implements "Compare" of docs/devel/migration-v4/machine.rst: the board, the
 * CPUs and the memory.  The rule is that what the guest can notice must be the
 * same; tables say what is not fatal nevertheless.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-machine-config.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#include "qapi/qobject-output-visitor.h"
#include "compare-parts.h"

/* What can be otherwise when a guest that has booted runs on */
static const char *const board_remarks[] = {
    "append", "boot", NULL
};

/* Of the board's properties, those that are compared by their members */
static const char *const board_apart[] = { "memory", NULL };

/* Switches of the board, and the device that there is if one is on */
static const struct {
    const char *property;
    const char *driver;
} switches[] = {
    { "hpet", "hpet" },
};

/* Options that show elsewhere: by what they make, a device or a property */
static const char *const options_shown[] = {
    "audio", "boot", "drive", "global", "net", "nic", "parallel", "serial",
    "soundhw", "usb", "vga", NULL
};

/* Options of which a guest that has booted needs nothing any more */
static const char *const option_remarks[] = { "rtc", "uuid", NULL };

static Weight listed_weight(const char *const *remarks, const char *name)
{
    return compare_listed(remarks, name) ? WEIGHT_REMARK : WEIGHT_FATAL;
}

/* The board */

static Weight board_weight(const char *name)
{
    return listed_weight(board_remarks, name);
}

/* Members as an option takes them */
static void add_members(GString *out, const QDict *dict)
{
    const char *comma = "";

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        g_autofree char *value = compare_option(qdict_entry_value(e));

        g_string_append_printf(out, "%s%s=%s", comma, qdict_entry_key(e),
                               value);
        comma = ",";
    }
}

static char *board_advice(const Comparison *c,
                          const MachineConfigDevice *device, const char *name,
                          const QObject *value)
{
    const QDict *dict = qobject_to(QDict, value);
    bool own = dict && (!strcmp(name, "smp") || !strcmp(name, "boot"));
    g_autofree char *text = NULL;
    GString *advice;

    if (own) {
        advice = g_string_new(NULL);
        g_string_printf(advice, "start with -%s ", name);
        add_members(advice, dict);
        return g_string_free(advice, false);
    }
    text = compare_option(value);
    return g_strdup_printf("start with -machine %s=%s", name, text);
}

/*
 * The board's properties.  A switch for what the guest has not used shows in
 * that there is no such device, and is no more than that.
 */
static void compare_board(Comparison *c)
{
    g_autoptr(GPtrArray) skip = g_ptr_array_new();

    for (const char *const *name = board_apart; *name; name++) {
        g_ptr_array_add(skip, (gpointer)*name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
        if (compare_is_unused(c, switches[i].driver)) {
            g_ptr_array_add(skip, (gpointer)switches[i].property);
        }
    }
    g_ptr_array_add(skip, NULL);
    compare_members(c, NULL, "", c->source->board->properties,
                    c->destination->board->properties,
                    (const char *const *)skip->pdata, board_weight,
                    board_advice);
}

static const char *guest_type(const MachineConfigBoard *board)
{
    return board->has_guest_type ? board->guest_type : board->type;
}

/* Returns: %false if all else follows from that */
static bool compare_type(Comparison *c)
{
    const MachineConfigBoard *here = c->source->board;
    const MachineConfigBoard *there = c->destination->board;

    if (!strcmp(guest_type(here), guest_type(there))) {
        return true;
    }
    compare_note(c, NULL, WEIGHT_FATAL, g_strdup("type"),
                 g_strdup_printf("\"%s\"", here->type),
                 g_strdup_printf("\"%s\"", there->type),
                 g_strdup_printf("start with -machine %s", here->type));
    return false;
}

static void compare_accelerator(Comparison *c)
{
    const char *here = c->source->board->accelerator;
    const char *there = c->destination->board->accelerator;

    if (strcmp(here, there)) {
        compare_note(c, NULL, WEIGHT_REMARK, g_strdup("accelerator"),
                     g_strdup_printf("\"%s\"", here),
                     g_strdup_printf("\"%s\"", there), NULL);
    }
}

static const char *guest_value(const MachineConfigOption *option)
{
    return option->has_guest ? option->guest : option->value;
}

static bool has_option(const MachineConfigOptionList *list,
                       const MachineConfigOption *option)
{
    for (; list; list = list->next) {
        const MachineConfigOption *other = list->value;

        if (!strcmp(other->option, option->option) &&
            !strcmp(guest_value(other), guest_value(option)) &&
            other->has_checksum == option->has_checksum &&
            other->checksum == option->checksum) {
            return true;
        }
    }
    return false;
}

/* Those of one side that the other does not have */
static void compare_options(Comparison *c, bool reverse)
{
    const MachineConfigBoard *one = (reverse ? c->destination
                                             : c->source)->board;
    const MachineConfigBoard *other = (reverse ? c->source
                                               : c->destination)->board;

    for (MachineConfigOptionList *l = one->options; l; l = l->next) {
        const MachineConfigOption *o = l->value;
        g_autoptr(QString) text = qstring_from_str(o->value);
        char *value;

        if (compare_listed(options_shown, o->option) ||
            has_option(other->options, o)) {
            continue;
        }
        value = compare_value(QOBJECT(text));
        compare_note(c, NULL, listed_weight(option_remarks, o->option),
                     g_strdup_printf("-%s", o->option),
                     reverse ? NULL : value, reverse ? value : NULL,
                     g_strdup_printf("start %s -%s %s",
                                     reverse ? "without" : "with", o->option,
                                     o->value));
    }
}

char *compare_shown_options(const Comparison *c, bool reverse)
{
    const MachineConfigBoard *one = (reverse ? c->destination
                                             : c->source)->board;
    const MachineConfigBoard *other = (reverse ? c->source
                                               : c->destination)->board;
    GString *advice = g_string_new(reverse ? "start without"
                                           : "start with");
    bool any = false;

    for (MachineConfigOptionList *l = one->options; l; l = l->next) {
        const MachineConfigOption *o = l->value;

        if (compare_listed(options_shown, o->option) &&
            !has_option(other->options, o)) {
            g_string_append_printf(advice, " -%s %s", o->option, o->value);
            any = true;
        }
    }
    return g_string_free(advice, !any);
}

static QObject *numa_object(NumaOptionsList *numa)
{
    QObject *object;
    Visitor *v = qobject_output_visitor_new(&object);
    const QListEntry *e;

    visit_type_NumaOptionsList(v, NULL, &numa, &error_abort);
    visit_complete(v, &object);
    visit_free(v);
    /* Where a node's memory comes from is the host's */
    QLIST_FOREACH_ENTRY(qobject_to(QList, object), e) {
        qdict_del(qobject_to(QDict, qlist_entry_obj(e)), "memdev");
    }
    return object;
}

static void compare_numa(Comparison *c)
{
    QObject *here = numa_object(c->source->board->numa);
    QObject *there = numa_object(c->destination->board->numa);

    if (!qobject_is_equal(here, there)) {
        compare_note(c, NULL, WEIGHT_FATAL, g_strdup("numa"),
                     compare_value(here), compare_value(there),
                     g_strdup("start with the same -numa options"));
    }
    qobject_unref(here);
    qobject_unref(there);
}

/* Memory */

static const QDict *memory_of(const MachineConfig *config)
{
    const QDict *properties = qobject_to(QDict, config->board->properties);

    return qobject_to(QDict, qdict_get(properties, "memory"));
}

static uint64_t memory_member(const QDict *memory, const char *name)
{
    QNum *number = qobject_to(QNum, qdict_get(memory, name));
    uint64_t value;

    return number && qnum_get_try_uint(number, &value) ? value : 0;
}

static uint64_t memory_size(const MachineConfig *config)
{
    const QDict *memory = memory_of(config);

    return memory ? memory_member(memory, "size") : 0;
}

/* A size as an option takes it; one without a unit would be in MiB */
static void add_size(GString *out, const char *name, uint64_t size)
{
    const char *unit = size % MiB ? size % KiB ? "B" : "K" : "M";

    g_string_append_printf(out, "%s%" PRIu64 "%s", name,
                           size / (size % MiB ? size % KiB ? 1 : KiB : MiB),
                           unit);
}

/* All of it: what differs depends on one another */
static char *memory_advice(const QDict *here, const QDict *there)
{
    uint64_t slots = memory_member(here, "slots");
    GString *advice = g_string_new("start with -m ");

    add_size(advice, "size=", memory_member(here, "size"));
    if (slots || memory_member(there, "slots")) {
        g_string_append_printf(advice, ",slots=%" PRIu64, slots);
        add_size(advice, ",maxmem=", memory_member(here, "max-size"));
    }
    return g_string_free(advice, false);
}

/* With what is so if nothing else was asked for */
static QDict *whole_memory(const MachineConfig *config)
{
    const QDict *memory = memory_of(config);
    uint64_t size = memory_size(config);
    QDict *whole = qdict_new();

    qdict_put(whole, "size", qnum_from_uint(size));
    qdict_put(whole, "slots",
              qnum_from_uint(memory ? memory_member(memory, "slots") : 0));
    qdict_put(whole, "max-size",
              qnum_from_uint(memory && qdict_haskey(memory, "max-size") ?
                             memory_member(memory, "max-size") : size));
    return whole;
}

static void compare_memory(Comparison *c)
{
    /* The most that it can become is its size, if nothing else was asked for */
    static const char *const follows[] = { "max-size", NULL };
    g_autoptr(QDict) here = whole_memory(c->source);
    g_autoptr(QDict) there = whole_memory(c->destination);
    bool other = memory_size(c->source) != memory_size(c->destination);
    guint before = c->found->len;

    compare_members(c, NULL, "memory.", QOBJECT(here), QOBJECT(there),
                    other ? follows : NULL, NULL, NULL);
    for (guint i = before; i < c->found->len; i++) {
        MachineDifference *d = c->found->pdata[i];

        d->has_advice = true;
        d->advice = memory_advice(here, there);
    }
}

static MachineConfigRamBlock *find_block(const MachineConfig *config,
                                         const char *name)
{
    for (MachineConfigRamBlockList *l = config->ram_blocks; l; l = l->next) {
        if (!strcmp(l->value->name, name)) {
            return l->value;
        }
    }
    return NULL;
}

/* Is it the board's memory, which was compared? */
static bool is_memory(const Comparison *c, const MachineConfigRamBlock *here,
                      const MachineConfigRamBlock *there)
{
    return here->size == memory_size(c->source) &&
           there->size == memory_size(c->destination);
}

static void note_block(Comparison *c, const char *name, const char *what,
                       Weight weight, uint64_t here, uint64_t there,
                       const char *advice)
{
    if (here != there) {
        compare_note(c, NULL, weight,
                     g_strdup_printf("ram-blocks.%s.%s", name, what),
                     g_strdup_printf("%" PRIu64, here),
                     g_strdup_printf("%" PRIu64, there), g_strdup(advice));
    }
}

static void compare_block(Comparison *c, const MachineConfigRamBlock *here,
                          const MachineConfigRamBlock *there)
{
    bool firmware = here->has_checksum && there->has_checksum;
    /* A block that can grow becomes what it is on the source */
    bool fits = there->has_maximum_size && here->size <= there->maximum_size;

    if (!fits && !is_memory(c, here, there)) {
        note_block(c, here->name, "size", WEIGHT_FATAL, here->size,
                   there->size, firmware ? "use the same firmware" : NULL);
    }
    if (firmware) {
        /* It travels with the guest, and is another one after a reset only */
        note_block(c, here->name, "checksum", WEIGHT_REMARK, here->checksum,
                   there->checksum, "use the same firmware");
    }
}

/* The name of a device's memory begins with where the device is */
static bool is_devices(const MachineConfigRamBlock *block)
{
    return strchr(block->name, '/') > block->name;
}

static void compare_ram(Comparison *c, bool same_devices)
{
    for (MachineConfigRamBlockList *l = c->source->ram_blocks; l;
         l = l->next) {
        MachineConfigRamBlock *there = find_block(c->destination,
                                                  l->value->name);

        if (there) {
            compare_block(c, l->value, there);
        } else if (same_devices || !is_devices(l->value)) {
            compare_note(c, NULL, WEIGHT_FATAL,
                         g_strdup_printf("ram-blocks.%s", l->value->name),
                         g_strdup_printf("%" PRIu64, l->value->size), NULL,
                         NULL);
        }
    }
    for (MachineConfigRamBlockList *l = c->destination->ram_blocks; l;
         l = l->next) {
        if ((same_devices || !is_devices(l->value)) &&
            !find_block(c->source, l->value->name)) {
            compare_note(c, NULL, WEIGHT_FATAL,
                         g_strdup_printf("ram-blocks.%s", l->value->name),
                         NULL, g_strdup_printf("%" PRIu64, l->value->size),
                         NULL);
        }
    }
}

/* CPUs */

static GHashTable *set_of(const strList *list)
{
    GHashTable *set = g_hash_table_new(g_str_hash, g_str_equal);

    for (; list; list = list->next) {
        g_hash_table_add(set, list->value);
    }
    return set;
}

static void compare_features(Comparison *c, bool reverse)
{
    const MachineConfigCpu *one = (reverse ? c->destination : c->source)->cpu;
    const MachineConfigCpu *other = (reverse ? c->source
                                             : c->destination)->cpu;
    g_autoptr(GHashTable) known = set_of(other->features);

    for (const strList *l = one->features; l; l = l->next) {
        if (g_hash_table_add(known, l->value)) {
            compare_note(c, NULL, WEIGHT_FATAL,
                         g_strdup_printf("cpu.features.%s", l->value),
                         g_strdup(reverse ? "false" : "true"),
                         g_strdup(reverse ? "true" : "false"),
                         g_strdup_printf("start with -cpu %s,%s=%s",
                                         c->source->cpu->model, l->value,
                                         reverse ? "off" : "on"));
        }
    }
}

static char *cpu_advice(const Comparison *c, const MachineConfigDevice *device,
                        const char *name, const QObject *value)
{
    g_autofree char *text = compare_option(value);

    return g_strdup_printf("start with -cpu %s,%s=%s", c->source->cpu->model,
                           name, text);
}

static void compare_cpu(Comparison *c)
{
    const MachineConfigCpu *here = c->source->cpu;
    const MachineConfigCpu *there = c->destination->cpu;

    if (strcmp(here->model, there->model)) {
        /* With its features, and all else */
        compare_note(c, NULL, WEIGHT_FATAL, g_strdup("cpu.model"),
                     g_strdup_printf("\"%s\"", here->model),
                     g_strdup_printf("\"%s\"", there->model),
                     g_strdup_printf("start with -cpu %s%s%s", here->model,
                                     here->has_options ? "," : "",
                                     here->has_options ? here->options : ""));
        return;
    }
    compare_features(c, false);
    compare_features(c, true);
    compare_members(c, NULL, "cpu.", here->properties, there->properties, NULL,
                    NULL, cpu_advice);
}

/* All of it */

MachineDifferenceList *machine_config_compare(MachineConfig *source,
                                              MachineConfig *destination)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    Comparison c = {
        .source = source, .destination = destination, .found = found,
    };
    MachineDifferenceList *list = NULL, **tail = &list;
    guint before;

    if (compare_type(&c)) {
        compare_accelerator(&c);
        compare_cpu(&c);
        compare_memory(&c);
        compare_board(&c);
        compare_options(&c, false);
        compare_options(&c, true);
        compare_numa(&c);
        compare_backends(&c, NULL, source->board->host_properties,
                         destination->board->host_properties);
        before = found->len;
        compare_devices(&c);
        compare_ram(&c, found->len == before);
    }
    for (int fatal = 1; fatal >= 0; fatal--) {
        for (guint i = 0; i < found->len; i++) {
            MachineDifference *d = found->pdata[i];

            if (d->fatal == fatal) {
                QAPI_LIST_APPEND(tail, d);
            }
        }
    }
    return list;
}
