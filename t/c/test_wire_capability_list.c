/* The list of what a peer can receive. */
#include "wire/capability_list.h"

#include <string.h>

#include "tap.h"

#define MIX ETCP_CAN_MIX
#define BOTH (ETCP_CAN_BOOLEANS | ETCP_CAN_EXACT_NUMBERS)

static const struct {
    const char *list;
    unsigned set;
} lists[] = {
    {"", 0},
    {"N1", ETCP_CAN_EXACT_NUMBERS},
    {"B1", ETCP_CAN_BOOLEANS},
    {"B1N1", BOTH},
    {"B1M1lzN1T1w",
     BOTH | MIX | ETCP_CAN_MIX_LZF | ETCP_CAN_MIX_ZLIB | ETCP_CAN_TLS | ETCP_TLS_ASKS},
    {"B1M1wrN1T1", BOTH | MIX | ETCP_CAN_TLS}, /* flags are those of their own item */
    {"T1r", ETCP_CAN_TLS | ETCP_TLS_REQUIRED},
    {"T1wr", ETCP_TLS_ALL},
    {"T1awxr", ETCP_TLS_ALL},
    {"T2w", 0},
    {"T1T1w", ETCP_CAN_TLS},
    {"T2T1w", 0},
    {"T1wN1", 0},
    {"M1", MIX},
    {"M1l", MIX | ETCP_CAN_MIX_LZF},
    {"M1aza", MIX | ETCP_CAN_MIX_ZLIB},
    {"M2lz", 0},
    {"M2zM1z", 0},
    {"M1M1z", MIX}, /* the first counts */
    {"L1zN1lz", ETCP_CAN_EXACT_NUMBERS},
    {"M1z1", 0},
    {"A7B1C0x", ETCP_CAN_BOOLEANS},
    {"B1abcN1xyz", BOTH},
    {"B2N1", ETCP_CAN_EXACT_NUMBERS},
    {"B11N10", 0},
    {"B99999999999999999999N1", ETCP_CAN_EXACT_NUMBERS},
    {"N2N1", 0}, /* the first counts */
    {"N1N2", ETCP_CAN_EXACT_NUMBERS},
    {"N1x\0", ETCP_CAN_EXACT_NUMBERS},
    {"N1B1", 0}, /* not in order */
    {"N", 0},
    {"NB1", 0},
    {"n1", 0},
    {"1N1", 0},
    {"B1 N1", 0},
    {"B1N1 ", 0},
    {"B1,N1", 0},
    {"B1N1\n", 0},
    {"B1xN1x1", 0},
    {"B1N1\xc3\xa9", 0},
    {"B1M1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaN1", BOTH | MIX}, /* 64 bytes */
    {"B1M1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaN1", 0},         /* 65 */
};

/* Whatever bytes come, nothing but a well-formed list says something. */
static void test_all_short_ones(void)
{
    int is_right = 1;
    unsigned a;
    unsigned b;

    for (a = 0; a < 256; a++) {
        for (b = 0; b < 256; b++) {
            const uint8_t text[2] = {(uint8_t)a, (uint8_t)b};
            unsigned want = b != '1'   ? 0
                            : a == 'B' ? ETCP_CAN_BOOLEANS
                            : a == 'N' ? ETCP_CAN_EXACT_NUMBERS
                            : a == 'T' ? ETCP_CAN_TLS
                            : a == 'M' ? ETCP_CAN_MIX
                                       : 0;
            is_right = is_right && etcp_capability_list_parse(text, 2) == want;
        }
    }
    tap_ok(is_right, "two bytes say something if they are an item");
}

int main(void)
{
    char list[ETCP_CAPABILITY_LIST_MAX + 1];
    size_t i;

    for (i = 0; i < sizeof lists / sizeof *lists; i++)
        tap_is_int(
            etcp_capability_list_parse((const uint8_t *)lists[i].list, strlen(lists[i].list)),
            lists[i].set, "list \"%s\"", lists[i].list);
    tap_is_int(etcp_capability_list_parse((const uint8_t *)"N1\0", 3), 0, "a NUL is no part of it");
    test_all_short_ones();
    etcp_capability_list_compose(0, list);
    tap_is_str(list, "", "nothing");
    etcp_capability_list_compose(ETCP_CAN_EXACT_NUMBERS, list);
    tap_is_str(list, "N1", "numbers");
    etcp_capability_list_compose(ETCP_CAN_EXACT_NUMBERS | ETCP_CAN_BOOLEANS, list);
    tap_is_str(list, "B1N1", "in alphabetical order");
    etcp_capability_list_compose(BOTH | MIX | ETCP_CAN_MIX_ZLIB | ETCP_CAN_MIX_LZF, list);
    tap_is_str(list, "B1M1lzN1", "with flags");
    etcp_capability_list_compose(MIX | ETCP_CAN_MIX_ZLIB, list);
    tap_is_str(list, "M1z", "with one flag");
    etcp_capability_list_compose(ETCP_CAN_EXACT_NUMBERS | ETCP_CAN_MIX_LZF, list);
    tap_is_str(list, "N1", "flags without their item");
    etcp_capability_list_compose(BOTH | ETCP_TLS_ALL, list);
    tap_is_str(list, "B1N1T1rw", "TLS");
    return tap_done();
}
