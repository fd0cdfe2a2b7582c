/* cmd_status.h - sluice status: an overview of a running sidecar. */
#ifndef SLUICE_CMD_STATUS_H
#define SLUICE_CMD_STATUS_H

int cmd_status(int argc, char **argv);

#endif
