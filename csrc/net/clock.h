/* Time that only moves forward, whatever happens to the date. */
#ifndef ETCP_NET_CLOCK_H
#define ETCP_NET_CLOCK_H

#include <stdint.h>

/* Microseconds and milliseconds since some moment before the process started: never 0, so that 0
 * can mean "not noted yet", and never less than an earlier call of the same thread gave. */
uint64_t etcp_clock_us(void);
uint64_t etcp_clock_ms(void);

/* Milliseconds of a clock that is cheap to read and may go in steps of some milliseconds (10 at
 * most): only to be compared with what it said earlier. */
uint64_t etcp_clock_cheap_ms(void);

/* Replaces the source of both clocks, for tests; NULL puts the system's clock back. */
void etcp_clock_replace(uint64_t (*now_us)(void));

/* What is left of timeout_ms since since_ms: 0 when it has passed. */
uint64_t etcp_clock_left(uint64_t since_ms, uint64_t timeout_ms, uint64_t now_ms);

/* A number of milliseconds as poll(2) wants it. */
int etcp_clock_as_timeout(uint64_t ms);

#endif
