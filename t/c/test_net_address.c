/* Addresses that may connect, and how many connections each has. */
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include "alloc.h"
#include "net/address_count.h"
#include "net/address_list.h"
#include "tap.h"

static etcp_address address(const char *text)
{
    etcp_address a;

    memset(&a, 0, sizeof a);
    if (strcmp(text, "unix") == 0)
        a.family = ETCP_FAMILY_UNIX;
    else if (inet_pton(AF_INET, text, a.bytes) == 1)
        a.family = 4;
    else if (inet_pton(AF_INET6, text, a.bytes) == 1)
        a.family = 6;
    return a;
}

static int has(const etcp_address_list *l, const char *text)
{
    etcp_address a = address(text);

    return etcp_address_list_has(l, &a);
}

/* ---- texts and networks ---------------------------------------------------------------------- */

static void test_texts(void)
{
    etcp_address_list l;

    memset(&l, 0, sizeof l);
    tap_ok(etcp_address_list_is_empty(&l), "empty at first");
    (void)etcp_address_list_add(&l, "10.0.0.2");
    (void)etcp_address_list_add(&l, "unix");
    (void)etcp_address_list_add(&l, "10.0.0.1");
    (void)etcp_address_list_add(&l, "10.0.0.2");
    (void)etcp_address_list_add(&l, "10.0.0.03");
    tap_is_int((long long)l.text_count, 4, "one twice is once");
    tap_ok(has(&l, "10.0.0.1") && has(&l, "10.0.0.2") && has(&l, "unix"), "those that are there");
    tap_ok(!has(&l, "10.0.0.3"), "texts are compared as they are written");
    (void)etcp_address_list_remove(&l, "10.0.0.1");
    (void)etcp_address_list_remove(&l, "10.9.9.9");
    tap_ok(!has(&l, "10.0.0.1") && has(&l, "10.0.0.2"), "one is taken out");
    etcp_address_list_clear(&l);
    tap_ok(etcp_address_list_is_empty(&l), "empty again");
}

static void test_networks(void)
{
    etcp_address_list l;

    memset(&l, 0, sizeof l);
    tap_is_int(etcp_address_list_add(&l, "10.1.2.3/8"), 0, "bits beyond the length do not matter");
    tap_is_int(etcp_address_list_add(&l, "10.0.0.0/8"), 0, "the same again");
    tap_is_int((long long)l.network_count, 1, "is there once");
    tap_ok(has(&l, "10.0.0.0") && has(&l, "10.255.255.255"), "first and last of it");
    tap_ok(!has(&l, "9.255.255.255") && !has(&l, "11.0.0.0"), "its neighbours");
    (void)etcp_address_list_add(&l, "192.168.1.128/25");
    (void)etcp_address_list_add(&l, "10.5.0.0/16");
    (void)etcp_address_list_add(&l, "2001:db8::/32");
    (void)etcp_address_list_add(&l, "192.168.7.9/32");
    tap_ok(has(&l, "192.168.1.128") && !has(&l, "192.168.1.127"), "half of an octet");
    tap_ok(has(&l, "192.168.7.9") && !has(&l, "192.168.7.8"), "a whole address");
    tap_ok(has(&l, "2001:db8:ffff::1") && !has(&l, "2001:db9::"), "IPv6");
    tap_ok(!has(&l, "unix") && !has(&l, "::"), "others");
    (void)etcp_address_list_remove(&l, "10.9.9.9/8");
    tap_ok(has(&l, "10.5.1.1") && !has(&l, "10.6.1.1"), "a network within another stays");
    tap_is_int(etcp_address_list_add(&l, "::ffff:172.16.0.0/108"), 0, "IPv4 written as IPv6");
    tap_ok(has(&l, "172.31.0.1") && !has(&l, "172.32.0.1"), "is IPv4");
    tap_is_int(etcp_address_list_add(&l, "0.0.0.0/0"), 0, "all of IPv4");
    tap_ok(has(&l, "11.0.0.0") && !has(&l, "::1"), "and not of IPv6");
    etcp_address_list_clear(&l);
}

static void test_nonsense(void)
{
    static const char *const wrong[] = {
        "10.0.0.0/33",  "10.0.0.0/",
        "10.0.0.0/-1",  "10.0.0.0/+8",
        "10.0.0.0/ 8",  "10.0.0.0/8x",
        "10.0.0/8",     "/8",
        "x/8",          "2001:db8::/129",
        "::1/x",        "10.0.0.0/8/8",
        "localhost/24", "10.0.0.0/99999999999999999999",
    };
    etcp_address_list l;
    size_t i;

    memset(&l, 0, sizeof l);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tap_is_int(etcp_address_list_add(&l, wrong[i]), ETCP_EINVAL, "%s", wrong[i]);
        tap_is_int(etcp_address_list_remove(&l, wrong[i]), ETCP_EINVAL, "nor to be removed");
    }
    tap_ok(etcp_address_list_is_empty(&l), "nothing of it is kept");
}

/* What the searches say must be what comparing bit by bit does. */
static void test_against_bits(void)
{
    etcp_address_list l;
    unsigned i;
    int wrong = 0;

    memset(&l, 0, sizeof l);
    for (i = 0; i < 300; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%u.%u.%u.0/%u", 1 + i * 7 % 3, i * 31 % 256,
                       i * 17 % 256, 14 + i % 12);
        (void)etcp_address_list_add(&l, text);
    }
    for (i = 0; i < 20000; i++) {
        etcp_address a;
        size_t n;
        int is_in = 0;

        memset(&a, 0, sizeof a);
        a.family = 4;
        a.bytes[0] = (uint8_t)(1 + i % 3);
        a.bytes[1] = (uint8_t)(i * 13 % 256);
        a.bytes[2] = (uint8_t)(i / 7 % 256);
        for (n = 0; n < l.network_count; n++) {
            const etcp_network *net = &l.networks[n];
            unsigned bit;

            for (bit = 0; bit < net->length; bit++)
                if ((net->bytes[bit / 8] ^ a.bytes[bit / 8]) >> (7 - bit % 8) & 1)
                    break;
            is_in |= bit == net->length;
        }
        wrong += etcp_address_list_has(&l, &a) != is_in;
    }
    tap_is_int(wrong, 0, "300 networks and 20000 addresses");
    etcp_address_list_clear(&l);
}

static void test_memory(void)
{
    static const char *const some[] = {"a", "10.0.0.0/8", "b", "::/3", "10.0.0.0/9"};
    long n;
    int rc;

    for (n = 1;; n++) {
        etcp_address_list l, copy;
        size_t i;

        memset(&l, 0, sizeof l);
        memset(&copy, 0, sizeof copy);
        alloc_fail_at(n);
        for (i = 0, rc = 0; i < 5 && rc == 0; i++)
            rc = etcp_address_list_add(&l, some[i]);
        if (rc == 0)
            rc = etcp_address_list_copy(&l, &copy);
        if (rc == 0)
            tap_ok(copy.text_count == 2 && copy.network_count == 3, "the copy has all");
        etcp_address_list_clear(&l);
        etcp_address_list_clear(&copy);
        if (rc == 0 || rc != ETCP_ENOMEM || alloc_live() != 0)
            break;
    }
    tap_is_int(rc, 0, "no memory at any time is told");
    tap_is_int(alloc_live(), 0, "and nothing is left behind");
    alloc_reset();
}

/* ---- how many -------------------------------------------------------------------------------- */

static void test_count(void)
{
    etcp_address one = address("10.0.0.1"), two = address("::1");
    etcp_address_count c;
    unsigned i;
    int wrong = 0;

    memset(&c, 0, sizeof c);
    tap_is_int((long long)etcp_address_count_of(&c, &one), 0, "nobody");
    tap_is_int((long long)etcp_address_count_add(&c, &one), 1, "the first");
    one.port = 99;
    tap_is_int((long long)etcp_address_count_add(&c, &one), 2, "the port does not matter");
    (void)etcp_address_count_add(&c, &two);
    etcp_address_count_remove(&c, &one);
    tap_is_int((long long)etcp_address_count_of(&c, &one), 1, "one less");
    etcp_address_count_remove(&c, &one);
    tap_is_int((long long)c.used, 1, "who has none takes no place");
    for (i = 0; i < 10000; i++) {
        one.bytes[2] = (uint8_t)(i / 256);
        one.bytes[3] = (uint8_t)i;
        (void)etcp_address_count_add(&c, &one);
        if (i % 3 == 0)
            (void)etcp_address_count_add(&c, &one);
    }
    for (i = 0; i < 10000; i++) {
        one.bytes[2] = (uint8_t)(i / 256);
        one.bytes[3] = (uint8_t)i;
        wrong += etcp_address_count_of(&c, &one) != (i % 3 == 0 ? 2u : 1u);
        etcp_address_count_remove(&c, &one);
    }
    tap_is_int(wrong, 0, "ten thousand addresses");
    tap_ok(etcp_address_count_of(&c, &two) == 1, "and another one meanwhile");
    etcp_address_count_clear(&c);
}

static void test_count_memory(void)
{
    etcp_address a = address("10.0.0.1");
    long n;
    size_t i = 0;

    for (n = 1; i < 40; n++) {
        etcp_address_count c;

        memset(&c, 0, sizeof c);
        alloc_fail_at(n);
        for (i = 0; i < 40; i++) {
            a.bytes[3] = (uint8_t)i;
            if (!etcp_address_count_add(&c, &a))
                break;
        }
        a.bytes[3] = 0;
        if (i > 0)
            etcp_address_count_remove(&c, &a);
        etcp_address_count_clear(&c);
        if (alloc_live() || !alloc_has_failed())
            break;
    }
    tap_is_int((long long)i, 40, "and enough memory is enough");
    tap_is_int(alloc_live(), 0, "no memory at any time leaves nothing behind");
    alloc_reset();
}

int main(void)
{
    test_texts();
    test_networks();
    test_nonsense();
    test_against_bits();
    test_memory();
    test_count();
    test_count_memory();
    return tap_done();
}
