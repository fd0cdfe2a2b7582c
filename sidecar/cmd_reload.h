/* cmd_reload.h - sluice reload: has a running sidecar read its configuration again. */
#ifndef SLUICE_CMD_RELOAD_H
#define SLUICE_CMD_RELOAD_H

#include "command.h"

extern const struct command command_reload;

#endif
