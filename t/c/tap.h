/* TAP for the C unit tests: each t/c/test_<module>.c is a program of its own that prints TAP. */
#ifndef ETCP_T_TAP_H
#define ETCP_T_TAP_H

#include <stddef.h>

#if defined(__GNUC__)
#define TAP_PRINTF(text_at, first) __attribute__((format(printf, text_at, first)))
#else
#define TAP_PRINTF(text_at, first)
#endif

/* One test; the printf-style name must not contain a newline. Returns cond as 0 or 1, so that a
 * caller can leave early when going on makes no sense. So do all the others here. */
int tap_ok(int cond, const char *format, ...) TAP_PRINTF(2, 3);

/* Both integers are shown when they differ. */
int tap_is_int(long long got, long long want, const char *format, ...) TAP_PRINTF(3, 4);

/* The lengths and the bytes around the first difference are shown when the runs differ. */
int tap_is_mem(const void *got, size_t got_len, const void *want, size_t want_len,
               const char *format, ...) TAP_PRINTF(5, 6);

/* NULL equals only NULL. Both strings are shown when they differ. */
int tap_is_str(const char *got, const char *want, const char *format, ...) TAP_PRINTF(3, 4);

/* A comment line, on standard output. */
void tap_note(const char *format, ...) TAP_PRINTF(1, 2);

/* Counts count tests as skipped because of why. */
void tap_skip(int count, const char *why);

/* Prints the plan. Returns the exit status of the program: 0 if every test passed. */
int tap_done(void);

#endif
