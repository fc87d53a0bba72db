/* Keys of hashes that came of late. Messages of one kind have the same keys again and again; while
 * one of them is remembered, perl need not compute its hash, nor make and free its only copy. Keys
 * that come once do not drive out those that come often. Part of storable_private.h. */
#ifndef ETCP_PERL_STORABLE_KEYS_H
#define ETCP_PERL_STORABLE_KEYS_H

#include "bridge.h"

enum {
    ETCP_KEYS = 256,       /* a power of 2 */
    ETCP_KEY_LEN_MAX = 32 /* longer ones are rarer, and cost more to look up */
};

typedef struct etcp_storable_key {
    SV *shared;    /* a scalar with the key, of perl's table of keys; NULL: nothing yet */
    uint64_t head; /* its first 8 bytes or, of a shorter key, all of it */
    U32 len;
    U32 challenger; /* a number made of the key that wanted this place last */
} etcp_storable_key;

typedef struct etcp_storable_keys {
    etcp_storable_key places[ETCP_KEYS];
} etcp_storable_keys;

/* The first 8 bytes of a key, or all of one of 1 to 8 bytes, which no other key of its length has. Loads
 * of a fixed size, which may overlap, take the place of a loop. */
static inline uint64_t etcp_storable_key_head(const char *key, STRLEN len)
{
    uint64_t head;
    uint32_t first;
    uint32_t last;

    if (len >= sizeof head) {
        memcpy(&head, key, sizeof head);
        return head;
    }
    if (len < sizeof last)
        return (uint64_t)(U8)key[0] << 16 | (uint64_t)(U8)key[len / 2] << 8 | (U8)key[len - 1];
    memcpy(&first, key, sizeof first);
    memcpy(&last, key + len - sizeof last, sizeof last);
    return (uint64_t)first << 32 | last;
}

/* A number made of a key, for finding it: not perl's, which takes longer. */
static inline U32 etcp_storable_key_number(uint64_t head, const char *key, STRLEN len)
{
    uint64_t tail = 0;

    if (len > sizeof tail)
        memcpy(&tail, key + len - sizeof tail, sizeof tail);
    return (U32)(((head ^ tail << 1 ^ len) * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

/* Puts the key at this place, unless another is there that was not challenged twice by it. */
void etcp_storable_keep_key(pTHX_ etcp_storable_key *place, U32 number, const char *key, STRLEN len);

/* A scalar with a key of bytes, which perl's table of keys has, or NULL: not known. It stays ours. */
static inline const SV *etcp_storable_known_key(pTHX_ etcp_storable_keys *keys, const char *key,
                                                STRLEN len)
{
    etcp_storable_key *place;
    uint64_t head;
    U32 number;

    if (len == 0 || len > ETCP_KEY_LEN_MAX)
        return NULL;
    head = etcp_storable_key_head(key, len);
    number = etcp_storable_key_number(head, key, len);
    place = &keys->places[number & (ETCP_KEYS - 1)];
    if (place->head == head && place->len == len &&
        (len <= sizeof head || memEQ(SvPVX_const(place->shared), key, len)))
        return place->shared;
    etcp_storable_keep_key(aTHX_ place, number, key, len);
    return NULL;
}

/* Forgets all. */
void etcp_storable_drop_keys(pTHX_ etcp_storable_keys *keys);

#endif
