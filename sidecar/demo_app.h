/* demo_app.h - `sluice demo-app`: the application that the demo, the bench and the tests proxy to.
 */
#ifndef SLUICE_DEMO_APP_H
#define SLUICE_DEMO_APP_H

/* Runs until a signal ends it; returns an exit code (0, 1 when it could not start, 2 on usage). */
int cmd_demo_app(int argc, char **argv);

#endif
