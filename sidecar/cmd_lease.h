/* cmd_lease.h - `sluice lease`. */
#ifndef SLUICE_CMD_LEASE_H
#define SLUICE_CMD_LEASE_H

#include "command.h"

extern const struct command command_lease;

#endif
