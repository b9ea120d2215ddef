/*
 * What was reported last
 *
 * For whoever has to pass on why something failed that only said so on stderr.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_ERROR_LAST_H
#define QEMU_ERROR_LAST_H

/**
 * error_report_last: the text of this thread's last error_report()
 *
 * Returns: a string that the next one overwrites, cut at 511 bytes; NULL if
 * there was none since error_report_forget().
 */
const char *error_report_last(void);
void error_report_forget(void);

#endif
