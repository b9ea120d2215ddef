/*
 * Migration stream version 4: VMState structures on a QEMUFile
 *
 * What vmstate.c calls, and whoever else has to tell the versions apart.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_VMSTATE_H
#define MIGRATION_STREAM_VMSTATE_H

/**
 * migration_stream_is_v4: does @f carry version 4?
 */
bool migration_stream_is_v4(QEMUFile *f);

/**
 * migration_stream_put_subsections_end: end a structure's subsections
 *
 * Without it a loader would have to guess from the bytes that follow.
 */
void migration_stream_put_subsections_end(QEMUFile *f);

/**
 * migration_stream_get_subsections_end: check the end of the subsections
 *
 * @name: of the structure that they belong to
 * @ret: how loading them went
 *
 * Returns: @ret if that is an error, -EINVAL with the error set on @f if
 * there is more that nobody took, else 0.
 */
int migration_stream_get_subsections_end(QEMUFile *f, const char *name,
                                         int ret);

#endif
