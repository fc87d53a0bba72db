#include "request.h"

#include "net/clock.h"
#include "server_part.h"

struct etcp_request {
    etcp_request *next;
    SV *code;        /* counted */
    uint64_t due_ms; /* UINT64_MAX: never */
};

/* When a time of so many seconds is over. None of 0, and none that nobody lives to see, ever is. */
static uint64_t due_in(NV seconds)
{
    return seconds > 0 && seconds < 1e10 ? etcp_clock_ms() + (uint64_t)(seconds * 1000) : UINT64_MAX;
}

void etcp_request_add(pTHX_ etcp_object *o, SV *code, NV seconds)
{
    etcp_async *a = o->async;
    etcp_request *r;

    Newxz(r, 1, etcp_request);
    r->code = SvREFCNT_inc_simple_NN(code);
    r->due_ms = due_in(seconds);
    if (a->last_request)
        a->last_request->next = r;
    else
        a->requests = r;
    a->last_request = r;
    a->request_count++;
    etcp_async_mark_request(o);
    if (r->due_ms != UINT64_MAX && o->server)
        etcp_server_wake(o->server->srv->core, a->dialer, r->due_ms);
}

static SV *take_out(pTHX_ etcp_async *a, etcp_request **place)
{
    etcp_request *r = *place;
    etcp_request *at;
    SV *code = sv_2mortal(r->code);

    *place = r->next;
    if (a->last_request == r)
        for (a->last_request = NULL, at = a->requests; at; at = at->next)
            a->last_request = at;
    a->request_count--;
    Safefree(r);
    return code;
}

SV *etcp_request_take(pTHX_ etcp_object *o)
{
    etcp_async *a = o->async;

    return etcp_request_is_open(a) ? take_out(aTHX_ a, &a->requests) : NULL;
}

SV *etcp_request_take_late(pTHX_ etcp_object *o)
{
    etcp_async *a = o->async;
    size_t sent = a->request_count - a->kept_requests;
    uint64_t now = etcp_clock_ms();
    etcp_request **place;
    size_t i = 0;

    for (place = &a->requests; *place; place = &(*place)->next, i++) {
        if (i < sent || (*place)->due_ms > now)
            continue;
        etcp_async_drop_request(aTHX_ o, i - sent);
        return take_out(aTHX_ a, place);
    }
    return NULL;
}

int etcp_request_is_late(const etcp_object *o)
{
    const etcp_async *a = o->async;
    size_t sent = a->request_count - a->kept_requests;
    uint64_t now = etcp_clock_ms();
    uint64_t next = UINT64_MAX;
    const etcp_request *r;
    size_t i = 0;
    int is_late = 0;

    for (r = a->requests; r; r = r->next, i++) {
        if (r->due_ms <= now)
            is_late = is_late || i < sent;
        else if (r->due_ms < next)
            next = r->due_ms;
    }
    if (next != UINT64_MAX && o->server)
        etcp_server_wake(o->server->srv->core, a->dialer, next);
    return is_late;
}

void etcp_request_drop_all(pTHX_ etcp_async *a)
{
    etcp_request *r;

    while ((r = a->requests) != NULL) {
        a->requests = r->next;
        if (!PL_dirty)
            sv_2mortal(r->code); /* what it has captured may come back to us */
        Safefree(r);
    }
    a->last_request = NULL;
    a->request_count = 0;
}
