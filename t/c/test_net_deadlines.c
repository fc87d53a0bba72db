/* Lists of equal timeouts, and the arithmetic of times. */
#include <limits.h>
#include <string.h>

#include "net/clock.h"
#include "net/deadline_list.h"
#include "tap.h"

static void test_order(void)
{
    etcp_deadline_list l;
    etcp_deadline d[3];
    size_t expiring = 0;

    memset(d, 0, sizeof d);
    etcp_deadline_list_init(&l, 100, &expiring);
    tap_ok(etcp_deadline_list_next(&l) == UINT64_MAX, "an empty list never expires");
    etcp_deadline_start(&l, &d[0], 1000);
    etcp_deadline_start(&l, &d[1], 1010);
    etcp_deadline_start(&l, &d[2], 1020);
    tap_is_int((long long)etcp_deadline_list_next(&l), 1100, "the first expires first");
    tap_ok(etcp_deadline_list_expired(&l, 1099) == NULL, "not a moment before");
    tap_ok(etcp_deadline_list_expired(&l, 1100) == &d[0], "exactly then");
    etcp_deadline_start(&l, &d[0], 1050);
    tap_ok(l.head == &d[1] && l.tail == &d[0], "starting anew moves it to the end");
    tap_is_int((long long)l.count, 3, "and counts it once");
    etcp_deadline_stop(&d[2]);
    tap_ok(d[1].next == &d[0] && d[0].prev == &d[1], "the middle one can leave");
    etcp_deadline_stop(&d[2]);
    tap_is_int((long long)l.count, 2, "leaving twice is once");
    etcp_deadline_stop(&d[1]);
    etcp_deadline_stop(&d[0]);
    tap_ok(!l.head && !l.tail && l.count == 0, "empty again");
}

static void test_moving(void)
{
    etcp_deadline_list a, b;
    etcp_deadline d;
    size_t expiring = 0;

    memset(&d, 0, sizeof d);
    etcp_deadline_list_init(&a, 0, &expiring);
    etcp_deadline_list_init(&b, 5, &expiring);
    etcp_deadline_start(&a, &d, 1);
    tap_ok(etcp_deadline_list_expired(&a, UINT64_MAX - 1) == NULL, "timeout 0 never expires");
    etcp_deadline_start(&b, &d, 1);
    tap_ok(a.count == 0 && !a.head && b.count == 1, "it sits in one list at a time");
    tap_ok(etcp_deadline_list_expired(&b, 6) == &d, "and follows that list's timeout");
}

static void test_counting(void)
{
    etcp_deadline_list never, some_day;
    etcp_deadline d[2];
    size_t expiring = 0;

    memset(d, 0, sizeof d);
    etcp_deadline_list_init(&never, 0, &expiring);
    etcp_deadline_list_init(&some_day, 5, &expiring);
    etcp_deadline_start(&never, &d[0], 1);
    tap_is_int((long long)expiring, 0, "what never expires does not count");
    etcp_deadline_start(&some_day, &d[0], 1);
    etcp_deadline_start(&some_day, &d[1], 1);
    tap_is_int((long long)expiring, 2, "what expires does, in whichever list it was");
    etcp_deadline_start(&some_day, &d[0], 2);
    tap_is_int((long long)expiring, 2, "once, however often it begins");
    etcp_deadline_start(&never, &d[1], 1);
    tap_is_int((long long)expiring, 1, "moving it into one without a timeout ends that");
    etcp_deadline_list_set_timeout(&never, 7);
    tap_is_int((long long)expiring, 2, "a list that gets a timeout counts");
    tap_is_int((long long)etcp_deadline_list_next(&never), 8, "and expires");
    etcp_deadline_list_set_timeout(&some_day, 0);
    tap_is_int((long long)expiring, 1, "one that loses it does not");
    etcp_deadline_stop(&d[0]);
    tap_is_int((long long)expiring, 1, "nor what leaves it then");
    etcp_deadline_stop(&d[1]);
    etcp_deadline_stop(&d[1]);
    tap_is_int((long long)expiring, 0, "nothing is left");
}

static uint64_t fixed;

static uint64_t fixed_clock(void)
{
    return fixed;
}

static void test_clock(void)
{
    uint64_t first;

    first = etcp_clock_us();
    tap_ok(first > 0 && etcp_clock_us() >= first, "the system's clock does not go back");
    etcp_clock_replace(fixed_clock);
    fixed = 0;
    tap_ok(etcp_clock_ms() > 0, "0 is never a time");
    fixed = 7999;
    tap_is_int((long long)etcp_clock_ms(), 1007, "milliseconds are rounded down");
    etcp_clock_replace(NULL);
    tap_is_int((long long)etcp_clock_left(100, 50, 120), 30, "what is left");
    tap_is_int((long long)etcp_clock_left(100, 50, 150), 0, "nothing is left");
    tap_is_int((long long)etcp_clock_left(100, 50, 900), 0, "long ago");
    tap_is_int((long long)etcp_clock_left(100, 50, 90), 50, "a clock that went back takes nothing");
    tap_is_int(etcp_clock_as_timeout(UINT64_MAX), INT_MAX, "no overflow");
}

int main(void)
{
    test_order();
    test_moving();
    test_counting();
    test_clock();
    return tap_done();
}
