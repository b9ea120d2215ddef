/*
 * What two sides of a migration can agree on
 *
 * Implements "Negotiation" of docs/devel/migration-v4/planning.rst.  One rule
 * serves devices and subsections: the newest version in common, and what the
 * other side does not know is left off if it may be.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/compat/negotiate.h"

/* The agreement */

static guint choice_hash(gconstpointer key)
{
    const MigrationChoice *choice = key;

    return g_str_hash(choice->name) ^ choice->instance;
}

static gboolean choice_equal(gconstpointer a, gconstpointer b)
{
    const MigrationChoice *x = a, *y = b;

    return x->instance == y->instance && !strcmp(x->name, y->name);
}

static void choice_free(gpointer data)
{
    MigrationChoice *choice = data;

    g_clear_pointer(&choice->subsections, g_hash_table_unref);
    g_free(choice->name);
    g_free(choice);
}

static void remark_free(gpointer data)
{
    MigrationRemark *remark = data;

    g_free(remark->device);
    g_free(remark->text);
    g_free(remark);
}

static MigrationAgreement *agreement_new(void)
{
    MigrationAgreement *a = g_new0(MigrationAgreement, 1);

    a->features = g_ptr_array_new_with_free_func(g_free);
    a->left_off = g_ptr_array_new_with_free_func(g_free);
    a->devices = g_ptr_array_new_with_free_func(choice_free);
    a->by_name = g_hash_table_new(choice_hash, choice_equal);
    a->remarks = g_ptr_array_new_with_free_func(remark_free);
    return a;
}

void migration_agreement_free(MigrationAgreement *a)
{
    if (a) {
        g_hash_table_unref(a->by_name);
        g_ptr_array_unref(a->features);
        g_ptr_array_unref(a->left_off);
        g_ptr_array_unref(a->devices);
        g_ptr_array_unref(a->remarks);
        g_free(a);
    }
}

/* @device: NULL if it is about the whole */
static void G_GNUC_PRINTF(4, 5) remark(MigrationAgreement *a,
                                       const MigrationDeviceFacts *device,
                                       bool fatal, const char *fmt, ...)
{
    MigrationRemark *r = g_new0(MigrationRemark, 1);
    va_list ap;

    if (device) {
        r->device = g_strdup(device->state.name);
        r->instance = device->instance;
    }
    r->fatal = fatal;
    va_start(ap, fmt);
    r->text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_ptr_array_add(a->remarks, r);
    a->refusals += fatal;
}

char *migration_remark_to_text(const MigrationRemark *r)
{
    if (!r->device) {
        return g_strdup(r->text);
    }
    return g_strdup_printf("device '%s' (instance %" PRIu32 "): %s",
                           r->device, r->instance, r->text);
}

bool migration_agreement_check(const MigrationAgreement *a, Error **errp)
{
    g_autoptr(GString) all = g_string_new(NULL);
    unsigned shown = 0;

    for (unsigned i = 0; i < a->remarks->len; i++) {
        const MigrationRemark *r = a->remarks->pdata[i];
        g_autofree char *text = NULL;

        if (!r->fatal || shown == MIGRATION_REFUSALS_SHOWN) {
            continue;
        }
        text = migration_remark_to_text(r);
        g_string_append_printf(all, "%s%s", shown++ ? "; " : "", text);
    }
    if (a->refusals > shown) {
        g_string_append_printf(all, "; and %u more", a->refusals - shown);
    }
    if (a->refusals) {
        error_setg(errp, "source and destination do not fit: %s", all->str);
    }
    return !a->refusals;
}

bool migration_agreement_has_feature(const MigrationAgreement *a,
                                     const char *name)
{
    for (unsigned i = 0; a && i < a->features->len; i++) {
        if (!strcmp(a->features->pdata[i], name)) {
            return true;
        }
    }
    return false;
}

const MigrationChoice *
migration_agreement_device(const MigrationAgreement *a, const char *name,
                           uint32_t instance)
{
    const MigrationChoice key = { .name = (char *)name, .instance = instance };

    return g_hash_table_lookup(a->by_name, &key);
}

const MigrationChoice *
migration_choice_subsection(const MigrationChoice *device, const char *name)
{
    return g_hash_table_lookup(device->subsections, name);
}

/* The stream and its features */

static char *versions_text(const MigrationFacts *facts)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < facts->stream_versions->len; i++) {
        g_string_append_printf(text, "%s%" PRIu32, i ? ", " : "",
                               g_array_index(facts->stream_versions, uint32_t,
                                             i));
    }
    return g_string_free(text, false);
}

static void agree_stream_version(MigrationAgreement *a,
                                 const MigrationFacts *source,
                                 const MigrationFacts *destination)
{
    const GArray *ours = source->stream_versions;
    const GArray *theirs = destination->stream_versions;
    g_autofree char *from = NULL, *to = NULL;

    for (unsigned i = 0; i < ours->len; i++) {
        for (unsigned j = 0; j < theirs->len; j++) {
            uint32_t version = g_array_index(ours, uint32_t, i);

            if (version == g_array_index(theirs, uint32_t, j)) {
                a->stream_version = MAX(a->stream_version, version);
            }
        }
    }
    if (!a->stream_version) {
        from = versions_text(source);
        to = versions_text(destination);
        remark(a, NULL, true, "there is no version of the stream in common: "
               "the source speaks '%s', the destination '%s'", from, to);
    }
}

/* What @one offers; what both do is on already when it's @other's turn */
static void agree_features(MigrationAgreement *a, const MigrationFacts *one,
                           const MigrationFacts *other, const char *who,
                           const char *whom)
{
    for (unsigned i = 0; i < one->features->len; i++) {
        const MigrationFeatureFacts *feature = one->features->pdata[i];
        const char *name = feature->name;

        if (!migration_facts_find_feature(other, name)) {
            g_ptr_array_add(a->left_off, g_strdup(name));
            remark(a, NULL, feature->required, feature->required
                   ? "feature '%s' is required by the %s and not offered by "
                     "the %s"
                   : "feature '%s' of the %s is left off: the %s does not "
                     "offer it", name, who, whom);
        } else if (!migration_agreement_has_feature(a, name)) {
            g_ptr_array_add(a->features, g_strdup(name));
        }
    }
}

/* Devices and subsections */

/* What stands before "is unknown to the destination" and the like */
static char *subject(const MigrationDeviceFacts *device,
                     const MigrationStateFacts *here,
                     const MigrationStateFacts *there)
{
    if (here != &device->state) {
        return g_strdup_printf("subsection '%s'", here->name);
    }
    return g_strdup(there ? "its state" : "the device");
}

static uint32_t saved_at(const MigrationStateFacts *here)
{
    return here->has_saved ? here->saved : here->version;
}

static char *ranges_text(const MigrationStateFacts *here,
                         const MigrationStateFacts *there)
{
    return g_strdup_printf("the source saves versions %" PRIu32 " to %" PRIu32
                           ", the destination loads %" PRIu32 " to %" PRIu32,
                           here->minimum_saved, saved_at(here),
                           there->minimum_version, there->version);
}

/*
 * What becomes of a state of the source
 *
 * @there: what the destination knows of it, NULL if nothing
 */
static void agree_state(MigrationAgreement *a, MigrationChoice *choice,
                        const MigrationDeviceFacts *device,
                        const MigrationStateFacts *here,
                        const MigrationStateFacts *there)
{
    uint32_t saved = saved_at(here);
    g_autofree char *what = subject(device, here, there);
    g_autofree char *ranges = there ? ranges_text(here, there) : NULL;
    g_autofree char *why = there
        ? g_strdup_printf("has no version in common, %s,", ranges)
        : g_strdup("is unknown to the destination");

    choice->version = there ? MIN(saved, there->version) : saved;
    choice->minimum = there ? MAX(here->minimum_saved, there->minimum_version)
                            : here->minimum_saved;
    if (there && choice->version >= choice->minimum) {
        choice->fate = MIGRATION_FATE_SENT;
        if (choice->version < here->version) {
            remark(a, device, false, "%s is sent at version %" PRIu32 ": %s%s",
                   what, choice->version,
                   choice->version == saved ? "it is asked for; " : "",
                   ranges);
        }
    } else if (here->optional && !there && here == &device->state) {
        /* It can tell a section by its name, and passes over all of it */
        choice->fate = MIGRATION_FATE_SENT;
        remark(a, device, false, "%s %s, which skips it", what, why);
    } else if (here->optional) {
        choice->fate = MIGRATION_FATE_LEFT_OFF;
        remark(a, device, false, "%s %s and is left off", what, why);
    } else if (here->needed) {
        choice->fate = MIGRATION_FATE_REFUSED;
        remark(a, device, true, "%s %s and is needed", what, why);
    } else {
        choice->fate = MIGRATION_FATE_REFUSED;
        remark(a, device, false, "%s %s and is not needed now; the migration "
               "fails if it is needed when it is saved", what, why);
    }
}

static MigrationChoice *choice_new(const MigrationDeviceFacts *device,
                                   const MigrationStateFacts *state)
{
    MigrationChoice *choice = g_new0(MigrationChoice, 1);

    choice->name = g_strdup(state->name);
    choice->instance = device->instance;
    return choice;
}

/* A subsection that is in several places goes only if it can in all of them */
static void add_subsection(MigrationAgreement *a, MigrationChoice *top,
                           const MigrationDeviceFacts *device,
                           MigrationChoice *choice)
{
    MigrationChoice *known = g_hash_table_lookup(top->subsections,
                                                 choice->name);

    if (!known) {
        g_hash_table_insert(top->subsections, choice->name, choice);
        return;
    }
    known->fate = MAX(known->fate, choice->fate);
    known->version = MIN(known->version, choice->version);
    known->minimum = MAX(known->minimum, choice->minimum);
    choice_free(choice);
    if (known->fate == MIGRATION_FATE_SENT && known->version < known->minimum) {
        known->fate = MIGRATION_FATE_REFUSED;
        remark(a, device, true, "subsection '%s' is in several places, and "
               "they have no version in common", known->name);
    }
}

static void agree_subsections(MigrationAgreement *a, MigrationChoice *top,
                              const MigrationDeviceFacts *device,
                              const MigrationStateFacts *here,
                              const MigrationStateFacts *there)
{
    for (unsigned i = 0; i < here->subsections->len; i++) {
        const MigrationStateFacts *sub = here->subsections->pdata[i];
        const MigrationStateFacts *known =
            migration_facts_find_subsection(there, sub->name);
        MigrationChoice *choice = choice_new(device, sub);

        agree_state(a, choice, device, sub, known);
        if (choice->fate == MIGRATION_FATE_SENT) {
            agree_subsections(a, top, device, sub, known);
        }
        add_subsection(a, top, device, choice);
    }
}

/* A device that has no partner yet: its names lead to it, by instance too */

static char *key_of(const char *name, uint32_t instance)
{
    return g_strdup_printf("%" PRIu32 "/%s", instance, name);
}

static void names_free(gpointer queue)
{
    g_queue_free(queue);
}

static void names_add(GHashTable *names, const char *name, uint32_t instance,
                      const MigrationDeviceFacts *device)
{
    g_autofree char *key = key_of(name, instance);
    GQueue *queue = g_hash_table_lookup(names, key);

    if (!queue) {
        queue = g_queue_new();
        g_hash_table_insert(names, g_steal_pointer(&key), queue);
    }
    g_queue_push_tail(queue, (gpointer)device);
}

/* The names of devices to GQueues of them; other names come behind the own */
static GHashTable *names_of(const GPtrArray *devices)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                              names_free);

    for (unsigned i = 0; i < devices->len; i++) {
        const MigrationDeviceFacts *d = devices->pdata[i];

        names_add(names, d->state.name, d->instance, d);
        if (d->has_legacy_instance) {
            names_add(names, d->state.name, d->legacy_instance, d);
        }
    }
    for (unsigned i = 0; i < devices->len; i++) {
        const MigrationDeviceFacts *d = devices->pdata[i];

        if (d->alias) {
            names_add(names, d->alias, d->alias_instance, d);
            if (d->has_legacy_instance) {
                names_add(names, d->alias, d->legacy_instance, d);
            }
        }
    }
    return names;
}

/* Who loads the state of @device: the first of that name who has none yet */
static const MigrationDeviceFacts *pair(GHashTable *names, GHashTable *paired,
                                        const MigrationDeviceFacts *device)
{
    g_autofree char *key = key_of(device->state.name, device->instance);
    GQueue *queue = g_hash_table_lookup(names, key);

    while (queue && !g_queue_is_empty(queue)) {
        gpointer partner = g_queue_pop_head(queue);

        if (g_hash_table_add(paired, partner)) {
            return partner;
        }
    }
    return NULL;
}

/* Where two devices have one name, what is agreed must hold for both */
static void add_device(MigrationAgreement *a,
                       const MigrationDeviceFacts *device,
                       MigrationChoice *choice)
{
    const MigrationChoice *known = g_hash_table_lookup(a->by_name, choice);

    g_ptr_array_add(a->devices, choice);
    if (!known) {
        g_hash_table_add(a->by_name, choice);
    } else if (known->fate != choice->fate ||
               known->version != choice->version) {
        remark(a, device, true, "there are two of this name, and the "
               "destination needs them at different versions");
    }
}

/*
 * The set of subsections that would be sent of @set, in the numbers of the
 * destination's
 */
static uint64_t set_there(const MigrationChoice *top,
                          const MigrationCombinationFacts *here,
                          const MigrationCombinationFacts *there, uint64_t set)
{
    uint64_t sent = 0;

    for (unsigned i = 0; i < combinations_count(here->valid); i++) {
        const char *name = combinations_name(here->valid, i);
        const MigrationChoice *choice = migration_choice_subsection(top, name);
        int n = combinations_find(there->valid, name);

        /* What is refused or left off has its own remark */
        if ((set >> i & 1) && n >= 0 && choice &&
            choice->fate != MIGRATION_FATE_LEFT_OFF) {
            sent |= 1ULL << n;
        }
    }
    return sent;
}

/* What is needed now has to be valid on both sides */
static void agree_combinations(MigrationAgreement *a,
                               const MigrationChoice *top,
                               const MigrationDeviceFacts *device,
                               const MigrationCombinationFacts *here,
                               const MigrationCombinationFacts *there)
{
    for (unsigned i = 0; i < here->needed->len; i++) {
        uint64_t set = g_array_index(here->needed, uint64_t, i);
        g_autofree char *why = NULL;

        if (!combinations_allow(here->valid, set)) {
            why = combinations_refusal(here->valid, here->structure, set);
            remark(a, device, true, "%s, on the source itself", why);
            continue;
        }
        set = there ? set_there(top, here, there, set) : 0;
        if (there && !combinations_allow(there->valid, set)) {
            why = combinations_refusal(there->valid, here->structure, set);
            remark(a, device, true, "%s, on the destination", why);
        }
    }
}

/* For a state and all that is in it */
static void agree_all_combinations(MigrationAgreement *a,
                                   const MigrationChoice *top,
                                   const MigrationDeviceFacts *device,
                                   const MigrationStateFacts *here,
                                   const MigrationStateFacts *there)
{
    for (unsigned i = 0; i < here->combinations->len; i++) {
        const MigrationCombinationFacts *c = here->combinations->pdata[i];

        agree_combinations(a, top, device, c,
                           migration_facts_find_combinations(there,
                                                             c->structure));
    }
    for (unsigned i = 0; i < here->subsections->len; i++) {
        const MigrationStateFacts *sub = here->subsections->pdata[i];

        agree_all_combinations(a, top, device, sub,
                               migration_facts_find_subsection(there,
                                                               sub->name));
    }
}

static void agree_device(MigrationAgreement *a,
                         const MigrationDeviceFacts *device,
                         const MigrationDeviceFacts *partner)
{
    MigrationChoice *choice = choice_new(device, &device->state);

    choice->subsections = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                                choice_free);
    agree_state(a, choice, device, &device->state,
                partner ? &partner->state : NULL);
    if (partner && choice->fate == MIGRATION_FATE_SENT) {
        agree_subsections(a, choice, device, &device->state, &partner->state);
        agree_all_combinations(a, choice, device, &device->state,
                               &partner->state);
    }
    if (partner && partner->expected && !device->state.needed) {
        remark(a, device, false, "its state is not sent as it is now, and the "
               "destination expects it");
    }
    add_device(a, device, choice);
}

static void agree_devices(MigrationAgreement *a, const GPtrArray *source,
                          const GPtrArray *destination)
{
    g_autoptr(GHashTable) names = names_of(destination);
    g_autoptr(GHashTable) paired = g_hash_table_new(NULL, NULL);

    for (unsigned i = 0; i < source->len; i++) {
        const MigrationDeviceFacts *device = source->pdata[i];

        agree_device(a, device, pair(names, paired, device));
    }
    for (unsigned i = 0; i < destination->len; i++) {
        const MigrationDeviceFacts *device = destination->pdata[i];

        if (device->expected && !device->state.optional &&
            !g_hash_table_contains(paired, device)) {
            remark(a, device, true, "the destination expects its state, and "
                   "the source has no such device");
        }
    }
}

MigrationAgreement *migration_negotiate(const MigrationFacts *source,
                                        const MigrationFacts *destination)
{
    MigrationAgreement *a = agreement_new();

    agree_stream_version(a, source, destination);
    if (strcmp(source->guest_machine, destination->guest_machine)) {
        remark(a, NULL, true, "the source is a machine of type '%s', the "
               "destination is a '%s'", source->guest_machine,
               destination->guest_machine);
    }
    agree_features(a, source, destination, "source", "destination");
    agree_features(a, destination, source, "destination", "source");
    agree_devices(a, source->devices, destination->devices);
    return a;
}
