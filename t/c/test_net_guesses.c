/* How guesses of passwords are counted. */
#include "net/guesses.h"

#include <string.h>

#include "alloc.h"
#include "tap.h"

static etcp_guesses guesses;

static etcp_address ipv4(unsigned number)
{
    etcp_address a;

    memset(&a, 0, sizeof a);
    a.family = 4;
    a.bytes[0] = 10;
    a.bytes[2] = (uint8_t)(number >> 8);
    a.bytes[3] = (uint8_t)number;
    return a;
}

static etcp_address ipv6(uint8_t net, uint8_t host)
{
    etcp_address a;

    memset(&a, 0, sizeof a);
    a.family = 6;
    a.bytes[0] = 0x20;
    a.bytes[7] = net;
    a.bytes[15] = host;
    return a;
}

static unsigned step(etcp_address from, uint64_t now_ms)
{
    return etcp_guesses_count(&guesses, &from, now_ms);
}

static unsigned last_of(unsigned count, etcp_address from, uint64_t now_ms)
{
    unsigned got = 0;

    while (count-- > 0)
        got = step(from, now_ms);
    return got;
}

static void test_growing(void)
{
    static const unsigned want[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8};
    static const unsigned delays[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000};
    unsigned wrong = 0;
    unsigned i;

    for (i = 0; i < sizeof want / sizeof want[0]; i++)
        wrong += step(ipv4(1), 1000) != want[i];
    tap_is_int((int)wrong, 0, "eight are free, then each waits longer");
    wrong = 0;
    for (i = 0; i < ETCP_GUESSES_STEPS; i++)
        wrong += etcp_guesses_delay_ms(i + 1) != delays[i];
    tap_is_int((int)wrong, 0, "from 100 ms to 10 s");
    tap_is_int((int)step(ipv4(2), 1000), 0, "others do not wait");
    etcp_guesses_deinit(&guesses);
}

static void test_forgiving(void)
{
    etcp_address a = ipv4(1);
    unsigned i;

    tap_is_int((int)last_of(10, a, 1000), 2, "ten");
    tap_is_int((int)step(a, 1000 + 9999), 3, "nothing is forgiven too soon");
    tap_is_int((int)step(a, 1000 + 10000), 3, "one in ten seconds");
    tap_is_int((int)step(a, 1000 + 50000), 0, "four more");
    tap_is_int((int)last_of(8, a, 1000000), 0, "in the end all");
    for (i = 0; i < 20; i++) {
        (void)step(a, 1000000);
        etcp_guesses_take_back(&guesses, &a, 1000000);
    }
    tap_is_int((int)step(a, 1000000), 1, "right ones are not counted");
    for (i = 0; i < 100; i++)
        etcp_guesses_take_back(&guesses, &a, 1000000);
    tap_is_int((int)last_of(9, a, 1000000), 1, "nor make up for later ones");
    etcp_guesses_deinit(&guesses);
}

static void test_addresses(void)
{
    etcp_address none;
    unsigned i;

    tap_is_int((int)last_of(9, ipv6(1, 1), 1), 1, "IPv6");
    tap_is_int((int)step(ipv6(1, 2), 1), 2, "a neighbour in the same /64 counts with it");
    tap_is_int((int)step(ipv6(2, 1), 1), 0, "one of another does not");
    memset(&none, 0, sizeof none);
    tap_is_int((int)last_of(30, none, 1), 0, "what has no address has no counter");
    etcp_guesses_take_back(&guesses, &none, 1);
    etcp_guesses_deinit(&guesses);
    (void)last_of(12, ipv4(5), 1);
    (void)last_of(12, ipv4(6), 2);
    for (i = 0; i < ETCP_GUESSES_MAX - 1; i++)
        (void)step(ipv4(1000 + i), 3);
    tap_is_int((int)guesses.count, ETCP_GUESSES_MAX, "there is a limit");
    tap_is_int((int)step(ipv4(6), 3), 5, "who came later is known");
    tap_is_int((int)step(ipv4(5), 3), 0, "the one that was quiet for longest is forgotten");
    etcp_guesses_deinit(&guesses);
}

static void test_out_of_memory(void)
{
    alloc_fail_at(1);
    tap_is_int((int)step(ipv4(1), 1), 0, "out of memory: nothing is counted");
    alloc_fail_at(0);
    (void)last_of(16, ipv4(1), 1);
    etcp_guesses_deinit(&guesses);
    tap_is_int(alloc_live(), 0, "nothing leaks");
    alloc_reset();
}

int main(void)
{
    alloc_fail_at(0);
    test_growing();
    test_forgiving();
    test_addresses();
    test_out_of_memory();
    return tap_done();
}
