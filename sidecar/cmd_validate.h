/* cmd_validate.h - `sluice validate FILE...`: is this configuration good? */
#ifndef SLUICE_CMD_VALIDATE_H
#define SLUICE_CMD_VALIDATE_H

/* argv[0] is "validate". 0: all are valid, 1: one is not, 2: usage, 3: internal fault. */
int cmd_validate(int argc, char **argv);

#endif
