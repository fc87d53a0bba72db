/* What a loop's time costs: measured while somebody asks, by the clock that the test moves. */
#include "net/clock.h"
#include "net/loop.h"
#include "tap.h"
#include "wire/adapt.h"

static uint64_t now_us = 1000000;

static uint64_t test_clock(void)
{
    return now_us;
}

/* Works for work_us, packed_us of it compressing, then waits (the poller returns at once, but the
 * clock has moved) for wait_us. */
static unsigned turn(etcp_loop *l, uint64_t work_us, uint64_t packed_us, uint64_t wait_us)
{
    now_us += work_us;
    l->waited_us += wait_us;
    now_us += wait_us;
    return etcp_loop_price(l, etcp_clock_us(), packed_us);
}

int main(void)
{
    etcp_loop *l = etcp_loop_new();
    unsigned price, before;

    etcp_clock_replace(test_clock);
    if (!l || etcp_loop_renew(l, NULL) < 0)
        return 1;
    tap_is_int(etcp_loop_price(l, etcp_clock_us(), 0), ETCP_ADAPT_PRICE_MIN, "the least at first");
    price = turn(l, 60000, 30000, 0);
    tap_is_int(price, 2 * ETCP_ADAPT_PRICE_MIN, "more after a busy time");
    tap_is_int(turn(l, 10000, 10000, 0), price, "not again at once");
    before = turn(l, 60000, 30000, 0);
    tap_is_int(before, 2 * price, "but later");
    tap_ok(turn(l, 60000, 100, 0) < before, "less when compressing is not what keeps it busy");
    for (int i = 0; i < 30; i++)
        price = turn(l, 10000, 9000, 50000);
    tap_is_int(price, ETCP_ADAPT_PRICE_MIN, "the least when it waits");
    now_us += 2000000;
    (void)etcp_loop_wait(l, 0);
    tap_ok(l->load_since_us == 0, "nothing is measured when nobody has asked for a second");
    etcp_clock_replace(NULL);
    etcp_loop_stop(l);
    etcp_loop_free(l);
    return tap_done();
}
