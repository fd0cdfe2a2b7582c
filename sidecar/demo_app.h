/* demo_app.h - `sluice demo-app`: the application that the demo, the bench and the tests proxy to.
 */
#ifndef SLUICE_DEMO_APP_H
#define SLUICE_DEMO_APP_H

#include "command.h"

extern const struct command command_demo_app;

#endif
