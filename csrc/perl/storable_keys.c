#include "storable_keys.h"

void etcp_storable_keep_key(pTHX_ etcp_storable_key *place, U32 number, const char *key, STRLEN len)
{
    SV *old = place->shared;

    if (old && place->challenger != number) {
        place->challenger = number;
        return;
    }
    place->shared = newSVpvn_share(key, (I32)len, 0);
    place->head = etcp_storable_key_head(key, len);
    place->len = (U32)len;
    place->challenger = 0;
    SvREFCNT_dec(old);
}

void etcp_storable_drop_keys(pTHX_ etcp_storable_keys *keys)
{
    int i;

    for (i = 0; i < ETCP_KEYS; i++) {
        SvREFCNT_dec(keys->places[i].shared);
        keys->places[i].shared = NULL;
        keys->places[i].len = 0;
    }
}
