#include "clock.h"

#include <limits.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>
#if !defined(CLOCK_MONOTONIC)
#include <sys/time.h>
#endif

/* Linux and FreeBSD keep the time of the last clock interrupt ready. */
#if defined(CLOCK_MONOTONIC_COARSE)
#define CHEAP_CLOCK CLOCK_MONOTONIC_COARSE
#elif defined(CLOCK_MONOTONIC_FAST)
#define CHEAP_CLOCK CLOCK_MONOTONIC_FAST
#elif defined(CLOCK_MONOTONIC)
#define CHEAP_CLOCK CLOCK_MONOTONIC
#endif

static uint64_t (*replaced)(void);

#if defined(CLOCK_MONOTONIC)
static uint64_t us_of(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) < 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static uint64_t system_us(void)
{
    return us_of(CLOCK_MONOTONIC);
}

static uint64_t cheap_ms(void)
{
    struct timespec now;

    if (clock_gettime(CHEAP_CLOCK, &now) < 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}
#else
/* Without a monotonic clock a date set back must not stretch a timeout: time stands still instead.
 */
static uint64_t system_us(void)
{
    static uint64_t latest;
    struct timeval now;
    uint64_t us;

    if (gettimeofday(&now, NULL) < 0)
        return latest;
    us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_usec;
    if (us > latest)
        latest = us;
    return latest;
}

static uint64_t cheap_ms(void)
{
    return system_us() / 1000u;
}
#endif

uint64_t etcp_clock_us(void)
{
    /* One second ahead, so that neither unit is 0 in the first moments after boot. */
    return (replaced ? replaced() : system_us()) + 1000000u;
}

uint64_t etcp_clock_ms(void)
{
    return etcp_clock_us() / 1000u;
}

uint64_t etcp_clock_cheap_ms(void)
{
    return replaced ? replaced() / 1000u : cheap_ms();
}

void etcp_clock_replace(uint64_t (*now_us)(void))
{
    replaced = now_us;
}

uint64_t etcp_clock_left(uint64_t since_ms, uint64_t timeout_ms, uint64_t now_ms)
{
    uint64_t passed = now_ms > since_ms ? now_ms - since_ms : 0;

    return passed >= timeout_ms ? 0 : timeout_ms - passed;
}

int etcp_clock_as_timeout(uint64_t ms)
{
    return ms > INT_MAX ? INT_MAX : (int)ms;
}
