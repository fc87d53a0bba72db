/* What objects with callbacks have, servers and async clients: a loop, which is a server's core even if
 * it has no listening socket, the callbacks, and those who are in the loop. */
#ifndef ETCP_PERL_SERVER_PART_H
#define ETCP_PERL_SERVER_PART_H

#include "object.h"
#include "stats.h"

typedef enum etcp_running {
    ETCP_NEVER_STARTED, /* running() returns undef */
    ETCP_STOPPED,       /* start() has returned */
    ETCP_RUNNING
} etcp_running;

struct etcp_server_part {
    etcp_server *core;    /* NULL in a thread that could not copy it: see clone_errno; and for an async
                             client in the loop of another object */
    etcp_object *clients; /* serverclients with held set, linked */
    etcp_object *guests;  /* async clients that are in this loop, linked, not counted */
    SV *on_connect;       /* subroutines, counted, or NULL */
    SV *on_data;
    SV *on_disconnect;
    SV *on_error;
    SV *on_finished;
    SV *on_drain;
    SV *topic;            /* the $_ of callbacks while none runs, or NULL */
    SV *calling;          /* what the data callback that runs was called with, counted, or NULL */
    SV *spare;            /* a scalar for the next message, or NULL: see spare.h */
    SV *pollhandle;       /* what pollhandle() returns, or NULL */
    SV *attachment;       /* what attach() noted, or NULL */
    HV *rooms;            /* what Rooms.pm knows, or NULL */
    struct etcp_watching *watches; /* in this loop: see watches.h */
    etcp_running running;
    int stop_requested;
    int is_finished;      /* what finish() began is over */
    uint64_t failed[ETCP_STATS_KINDS]; /* how often the error callback was due, by kind */
    int owes; /* some client's data callback was put off */
    NV rsa_made_at;       /* when the Crypt::RSA pair was made, seconds */
    int uses_rsa;
    int clone_errno;      /* why this thread has no core */
};

/* The empty part of a new server. Memory is perl's. */
etcp_server_part *etcp_server_part_new(pTHX);

/* Frees the part of server, after what was sent was delivered. Its clients are forgotten; those that
 * the script holds go on alone. */
void etcp_server_part_free(pTHX_ etcp_object *server);

/* Takes a serverclient out of its server's list, and no more. */
void etcp_server_part_unlist(etcp_object *o);

/* Takes a serverclient out of its server's list and drops the list's reference, which may free it.
 * Does nothing if it is not listed. */
void etcp_server_part_forget(pTHX_ etcp_object *o);

/* Whether server has a core to work with. Otherwise $@ says that this thread has none. */
int etcp_server_part_is_usable(pTHX_ const etcp_object *server);

/* The object whose loop o, a server or an async client, is in, with a core to work with. NULL with the
 * text in $@. */
etcp_object *etcp_server_part_loop(pTHX_ etcp_object *o);

/* Lists an async client with the object whose loop it is in; takes it off that list, if it is on one. */
void etcp_server_part_add_guest(etcp_object *host, etcp_object *o);
void etcp_server_part_remove_guest(etcp_object *o);

/* The object of the client with this serial number, or NULL. */
etcp_object *etcp_server_part_client(const etcp_object *server, IV serial);

/* A new list of references to the objects of the clients. */
AV *etcp_server_part_clients(pTHX_ const etcp_object *server);

/* Has the server take over a duplicate of fd, which is connected. Returns 0 with the reason in $@. */
int etcp_server_part_adopt(pTHX_ etcp_object *server, int fd);

/* Begins to end the server, within so many milliseconds. */
void etcp_server_part_finish(pTHX_ etcp_object *server, unsigned spread_ms);

/* A mortal reference to a list of the clients in a room. Runs Perl code. */
SV *etcp_server_part_room(pTHX_ const etcp_object *server, SV *name);

#ifdef USE_ITHREADS
/* The part of a server's copy in a new thread: without clients, on a duplicated descriptor. */
etcp_server_part *etcp_server_part_clone(pTHX_ const etcp_server_part *old, CLONE_PARAMS *param);
#endif

#endif
