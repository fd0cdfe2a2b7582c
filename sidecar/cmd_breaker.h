/* cmd_breaker.h - `sluice breaker`. */
#ifndef SLUICE_CMD_BREAKER_H
#define SLUICE_CMD_BREAKER_H

#include "command.h"

extern const struct command command_breaker;

#endif
