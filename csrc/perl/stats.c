#include "stats.h"

#include "server_part.h"

static const char *const kinds[ETCP_STATS_KINDS] = {"negotiation", "password", "decode",
                                                    "toobig",      "proxy",    "timeout"};

int etcp_stats_kind(const char *kind)
{
    int i;

    for (i = 0; i < ETCP_STATS_KINDS; i++)
        if (strEQ(kinds[i], kind))
            return i;
    return -1;
}

/* A perl with 32 bits counts in floating point, as it always does. */
static void put(pTHX_ HV *hash, const char *name, uint64_t value)
{
    SV *sv = value <= (uint64_t)UV_MAX ? newSVuv((UV)value) : newSVnv((NV)value);

    (void)hv_store(hash, name, (I32)strlen(name), sv, 0);
}

static void put_traffic(pTHX_ HV *hash, const etcp_traffic *t)
{
    put(aTHX_ hash, "messages_in", t->messages_in);
    put(aTHX_ hash, "messages_out", t->messages_out);
    put(aTHX_ hash, "payload_in", t->payload_in);
    put(aTHX_ hash, "payload_out", t->payload_out);
    put(aTHX_ hash, "bytes_in", t->bytes_in);
    put(aTHX_ hash, "bytes_out", t->bytes_out);
}

SV *etcp_stats_of_server(pTHX_ const etcp_object *server)
{
    HV *hash = newHV();
    SV *result = sv_2mortal(newRV_noinc((SV *)hash));
    etcp_server_counts counts;
    int i;

    etcp_server_count(server->srv->core, &counts);
    put_traffic(aTHX_ hash, &counts.traffic);
    put(aTHX_ hash, "accepted", counts.accepted);
    put(aTHX_ hash, "clients", counts.clients);
    put(aTHX_ hash, "negotiating", counts.negotiating);
    put(aTHX_ hash, "closing", counts.closing);
    put(aTHX_ hash, "queued", counts.queued);
    put(aTHX_ hash, "queued_most", counts.queued_most);
    put(aTHX_ hash, "refused_full", counts.refused[ETCP_REFUSED_FULL]);
    put(aTHX_ hash, "refused_address", counts.refused[ETCP_REFUSED_ADDRESS]);
    put(aTHX_ hash, "refused_perip", counts.refused[ETCP_REFUSED_PER_IP]);
    for (i = 0; i < ETCP_STATS_KINDS; i++) {
        char name[40];

        my_snprintf(name, sizeof name, "failed_%s", kinds[i]);
        put(aTHX_ hash, name, server->srv->failed[i]);
    }
    return result;
}

SV *etcp_stats_of_client(pTHX_ const etcp_object *client)
{
    static const etcp_traffic none;
    HV *hash = newHV();
    SV *result = sv_2mortal(newRV_noinc((SV *)hash));
    const etcp_traffic *t = client->conn ? etcp_conn_traffic(client->conn) : NULL;

    put_traffic(aTHX_ hash, t ? t : &none);
    put(aTHX_ hash, "queued", client->conn ? etcp_conn_queued(client->conn) : 0);
    return result;
}
