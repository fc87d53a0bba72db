#include "tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int tests_run;
static int tests_failed;

static int result(int cond, const char *format, va_list args)
{
    tests_run++;
    if (!cond)
        tests_failed++;
    printf("%sok %d - ", cond ? "" : "not ", tests_run);
    vprintf(format, args);
    putchar('\n');
    /* A crash in the next test must not take this line with it. */
    fflush(stdout);
    return cond != 0;
}

static void show_bytes(const char *label, const unsigned char *bytes, size_t len, size_t at)
{
    const size_t from = at > 8 ? at - 8 : 0;
    const size_t to = len - from > 24 ? from + 24 : len;

    printf("# %s (%lu bytes), from %lu:", label, (unsigned long)len, (unsigned long)from);
    for (size_t i = from; i < to; i++)
        printf(" %02x", bytes[i]);
    putchar('\n');
}

int tap_ok(int cond, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    const int passed = result(cond, format, args);
    va_end(args);
    return passed;
}

int tap_is_int(long long got, long long want, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    const int passed = result(got == want, format, args);
    va_end(args);
    if (!passed)
        printf("# got %lld, want %lld\n", got, want);
    return passed;
}

int tap_is_mem(const void *got, size_t got_len, const void *want, size_t want_len,
               const char *format, ...)
{
    const unsigned char *g = got;
    const unsigned char *w = want;
    const size_t common = got_len < want_len ? got_len : want_len;
    size_t at = 0;
    va_list args;

    while (at < common && g[at] == w[at])
        at++;
    va_start(args, format);
    const int passed = result(at == got_len && at == want_len, format, args);
    va_end(args);
    if (!passed) {
        printf("# first difference at %lu\n", (unsigned long)at);
        show_bytes(" got", g, got_len, at);
        show_bytes("want", w, want_len, at);
    }
    return passed;
}

int tap_is_str(const char *got, const char *want, const char *format, ...)
{
    const int same = got && want ? strcmp(got, want) == 0 : got == want;
    va_list args;

    va_start(args, format);
    const int passed = result(same, format, args);
    va_end(args);
    if (!passed) {
        printf("#  got: %s\n", got ? got : "(null)");
        printf("# want: %s\n", want ? want : "(null)");
    }
    return passed;
}

void tap_note(const char *format, ...)
{
    va_list args;

    printf("# ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void tap_skip(int count, const char *why)
{
    for (int i = 0; i < count; i++) {
        tests_run++;
        printf("ok %d # SKIP %s\n", tests_run, why);
    }
}

int tap_done(void)
{
    printf("1..%d\n", tests_run);
    if (tests_failed)
        printf("# %d of %d tests failed\n", tests_failed, tests_run);
    fflush(stdout);
    return tests_failed || !tests_run ? 1 : 0;
}
