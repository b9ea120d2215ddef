/*
 * An error as one text
 *
 * For whoever passes an error on to somebody who has no standard error output
 * to look at, such as a monitor, or the other side of a migration.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QAPI_ERROR_TEXT_H
#define QAPI_ERROR_TEXT_H

/**
 * error_get_text: the message, and below it the hint if there is one
 *
 * Returns: a string that the caller frees, without a newline at its end.
 */
char *error_get_text(const Error *err);

#endif
