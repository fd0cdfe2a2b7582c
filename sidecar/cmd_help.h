/* cmd_help.h - `sluice help` and `sluice version`: what the program tells of itself. */
#ifndef SLUICE_CMD_HELP_H
#define SLUICE_CMD_HELP_H

#include "command.h"

extern const struct command command_help, command_version;

/* Says on stderr that there is no such command; returns EXIT_USAGE. */
int help_unknown_command(const char *name);

#endif
