/* cmd_validate.h - `sluice validate FILE...`: is this configuration good? */
#ifndef SLUICE_CMD_VALIDATE_H
#define SLUICE_CMD_VALIDATE_H

#include "command.h"

extern const struct command command_validate;

#endif
