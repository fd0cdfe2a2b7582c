/* cmd_diff.h - `sluice diff OLD NEW`: what a reload would change. */
#ifndef SLUICE_CMD_DIFF_H
#define SLUICE_CMD_DIFF_H

#include "command.h"

extern const struct command command_diff;

#endif
