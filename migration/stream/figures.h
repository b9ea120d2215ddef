/*
 * Migration stream version 4: figures for query-migrate
 *
 * Private to this directory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_FIGURES_H
#define MIGRATION_STREAM_FIGURES_H

#include "migration/stream/channel.h"

/* One more section */
void stream_figures_add_section(void);

/* What @sc has written; @f gets it credited */
void stream_figures_written(QEMUFile *f, StreamChannel *sc);

/* What @sc has read */
void stream_figures_read(StreamChannel *sc);

#endif
