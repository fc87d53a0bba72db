#include "parcel.h"

#include "base/mem.h"

etcp_parcel *etcp_parcel_new(unsigned flags, const uint8_t *payload, size_t len,
                             void (*release)(void *owner), void *owner)
{
    etcp_parcel *p = etcp_zalloc(sizeof *p);
    uint8_t *copy = NULL;

    if (!p)
        return NULL;
    if (!release && len) {
        copy = etcp_memdup(payload, len);
        if (!copy) {
            etcp_free(p);
            return NULL;
        }
        payload = copy;
    }
    p->references = 1;
    p->flags = flags;
    p->content = ETCP_CONTENTS;
    p->payload = payload;
    p->len = len;
    p->release = release;
    p->owner = release ? owner : copy;
    return p;
}

etcp_parcel *etcp_parcel_ref(etcp_parcel *p)
{
    p->references++;
    return p;
}

void etcp_parcel_unref(etcp_parcel *p)
{
    if (--p->references)
        return;
    for (int c = 0; c < ETCP_CODECS; c++)
        for (int marked = 0; marked < 2; marked++)
            etcp_buf_deinit(&p->forms[c][marked].bytes);
    if (p->release)
        p->release(p->owner);
    else
        etcp_free(p->owner);
    etcp_free(p);
}
