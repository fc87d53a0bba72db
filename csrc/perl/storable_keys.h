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
    SV *shared;     /* a scalar with the key, of perl's table of keys; NULL: nothing yet */
    U32 challenger; /* the print of the key that wanted this place last */
} etcp_storable_key;

typedef struct etcp_storable_keys {
    etcp_storable_key places[ETCP_KEYS];
} etcp_storable_keys;

/* A number made of a key, for finding it: not perl's, which takes longer. */
static inline U32 etcp_storable_key_print(const char *key, STRLEN len)
{
    U32 print = (U32)len;
    STRLEN i;

    for (i = 0; i < len; i++)
        print = print * 33 + (U8)key[i];
    return print ^ print >> 15;
}

/* Puts the key at this place, unless another is there that was not challenged twice by it. */
void etcp_storable_keep_key(pTHX_ etcp_storable_key *place, U32 print, const char *key, STRLEN len);

/* Perl's hash of a key of bytes, or 0: not known. */
static inline U32 etcp_storable_key_hash(pTHX_ etcp_storable_keys *keys, const char *key, STRLEN len)
{
    etcp_storable_key *place;
    U32 print;

    if (len > ETCP_KEY_LEN_MAX)
        return 0;
    print = etcp_storable_key_print(key, len);
    place = &keys->places[print & (ETCP_KEYS - 1)];
    if (place->shared && SvCUR(place->shared) == len && memEQ(SvPVX_const(place->shared), key, len))
        return SvSHARED_HASH(place->shared);
    etcp_storable_keep_key(aTHX_ place, print, key, len);
    return 0;
}

/* Forgets all. */
void etcp_storable_drop_keys(pTHX_ etcp_storable_keys *keys);

#endif
