/* slow.h - is this a slow build, with a sanitizer or for coverage? There a test that tries
 * thousands of values takes a part of them: it is the same code for each of them that is looked at,
 * and which values are right is for the plain build to say. */
#ifndef SLUICE_TESTS_UNIT_SLOW_H
#define SLUICE_TESTS_UNIT_SLOW_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { SLOW_BUILD = 1 };
#else
enum { SLOW_BUILD = 0 };
#endif

#endif
