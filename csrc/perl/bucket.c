#include "bucket.h"

void etcp_bucket_push_behind(pTHX_ etcp_bucket *b, etcp_message m)
{
    b->size += m.size;
    if (b->count == 1 && !b->slots) {
        Newx(b->slots, 8, etcp_message);
        b->cap = 8;
    }
    if (b->count == 1) {
        /* "only" moves in front: slots hold everything as soon as two messages wait. */
        b->slots[0] = b->only;
        b->head = 0;
    } else if (b->head + b->count == b->cap) {
        if (b->head >= b->cap / 2) {
            Move(b->slots + b->head, b->slots, b->count, etcp_message);
            b->head = 0;
        } else {
            b->cap *= 2;
            Renew(b->slots, b->cap, etcp_message);
        }
    }
    b->slots[b->head + b->count] = m;
    b->count++;
}

static void make_room_in_front(etcp_bucket *b)
{
    if (b->count == b->cap) {
        b->cap *= 2;
        Renew(b->slots, b->cap, etcp_message);
    }
    Move(b->slots, b->slots + 1, b->count, etcp_message);
    b->head = 1;
}

void etcp_bucket_unshift(pTHX_ etcp_bucket *b, etcp_message m)
{
    if (b->count == 0) {
        etcp_bucket_push(aTHX_ b, m);
        return;
    }
    if (!b->slots) {
        etcp_message later = b->only;

        b->only = m;
        b->size += m.size - later.size;
        etcp_bucket_push(aTHX_ b, later);
        return;
    }
    b->size += m.size;
    /* The slot before the head is free, unless messages came meanwhile and all moved to the front. */
    if (b->head == 0)
        make_room_in_front(b);
    b->head--;
    b->slots[b->head] = m;
    b->count++;
}

etcp_message etcp_bucket_shift_slots(etcp_bucket *b)
{
    etcp_message m = *etcp_bucket_first(b);

    b->count--;
    b->size -= m.size;
    b->head++;
    if (b->count == 1)
        b->only = b->slots[b->head];
    if (b->count == 0) {
        /* A burst is over: an idle connection owns no slots. */
        Safefree(b->slots);
        b->slots = NULL;
        b->head = b->cap = 0;
    }
    return m;
}

void etcp_bucket_clear(pTHX_ etcp_bucket *b)
{
    /* Their destructors may come back to this very bucket: they run later. */
    while (b->count > 0)
        sv_2mortal(etcp_bucket_shift(b).sv);
}
