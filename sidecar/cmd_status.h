/* cmd_status.h - `sluice status`: an overview of a running sidecar. */
#ifndef SLUICE_CMD_STATUS_H
#define SLUICE_CMD_STATUS_H

#include "command.h"

extern const struct command command_status;

#endif
