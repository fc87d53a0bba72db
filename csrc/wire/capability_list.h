/* The list in which 1.10 and later tell each other what they can receive: items like N1, of a
 * letter, a number and flags, in alphabetical order. Whoever is new to the wire gets an item here;
 * nothing is concluded from versions. Protocol.pod, "What peers can receive".
 *
 *     [A-Z][0-9]+[a-z]*    repeated, at most 64 bytes; of a letter that comes twice the first
 * counts */
#ifndef ETCP_WIRE_CAPABILITY_LIST_H
#define ETCP_WIRE_CAPABILITY_LIST_H

#include <stddef.h>
#include <stdint.h>

/* What this module knows of, each a bit of a set. */
enum {
    ETCP_CAN_BOOLEANS = 1,      /* B1: booleans have items of their own in structures */
    ETCP_CAN_EXACT_NUMBERS = 2, /* N1: the items c0 to c3 of structures */
    ETCP_CAN_MIX = 4,           /* M1: compressors in turn, each message marked; without flags it is
                                   the one agreed on */
    ETCP_CAN_MIX_LZF = 8,       /* M1l */
    ETCP_CAN_MIX_ZLIB = 16,     /* M1z */
    ETCP_CAN_TLS = 32,          /* T1: TLS may start behind the answer; in an answer: it does */
    ETCP_TLS_ASKS = 64,         /* T1w: a password will be asked for */
    ETCP_TLS_REQUIRED = 128     /* T1r: nothing else is taken */
};

enum { ETCP_TLS_ALL = ETCP_CAN_TLS | ETCP_TLS_ASKS | ETCP_TLS_REQUIRED };

enum { ETCP_CAPABILITY_LIST_MAX = 64 };

/* What a list says that we know of, flags included; 0 for one that is not well formed. Unknown
 * letters, numbers and flags are skipped. */
unsigned etcp_capability_list_parse(const uint8_t *text, size_t len);

/* Writes the list of a set, NUL behind. Flags without their item are left out. */
void etcp_capability_list_compose(unsigned set, char list[ETCP_CAPABILITY_LIST_MAX + 1]);

#endif
