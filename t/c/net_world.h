/* A server and its clients in one process and one thread, for the tests of csrc/net/: wherever a
 * client would wait, the server's loop runs instead. Time stands still unless a test moves it. */
#ifndef ETCP_T_NET_WORLD_H
#define ETCP_T_NET_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "net/conn.h"
#include "net/server.h"
#include "net/socket.h"

enum { WORLD_LOG_MAX = 16384 };

typedef struct world world;
struct world {
    etcp_config *server_config;
    etcp_config *client_config;
    etcp_tls *client_tls; /* world_dial speaks TLS with it; NULL: no TLS */
    etcp_server *server;  /* NULL once a handler freed it */
    char port[8];
    /* Called with every event, after it was logged; may do anything, NULL: nothing. */
    void (*on_event)(world *w, etcp_server_event *event);
    void *arg;
    void *between; /* takes part in every round by turn_between; see between.h */
    int (*turn_between)(world *w);
    etcp_conn *dialled;      /* the last one, uncounted: a forked child's copy is no leak */
    int rounds;              /* how often the loop went round */
    long serials;            /* given out */
    char log[WORLD_LOG_MAX]; /* "A1 C1 M1(text) D1 F1 E0 ": the events, with the serial of the
                                connection */
};

/* The system calls the net layer makes; tests change single entries. world_start puts the system's
 * own back, except that poll runs the server's loop while a client waits. */
extern etcp_syscalls world_calls;

/* Options with every default, port 0, on 127.0.0.1. */
etcp_server_options world_options(void);

/* Starts the server. Stops the program when that fails. options may be NULL. */
void world_start(world *w, const etcp_server_options *options);

/* Frees everything. */
void world_stop(world *w);

/* Runs the server's loop until nothing is left to do at this moment. */
void world_pump(world *w);

/* One do_one_loop: polls without waiting, takes every event. Returns what etcp_server_poll did. */
int world_round(world *w);

/* Forgets the log. */
void world_forget(world *w);

/* As etcp_conn_drain and etcp_conn_receive, calling again after ETCP_EINTR as the bridge does. */
int world_drain(etcp_conn *c, size_t mark);
int world_wait(etcp_conn *c, unsigned timeout_ms, etcp_event *event);

/* Connects and negotiates. NULL on failure, with the error in world_error. */
etcp_conn *world_dial(world *w);

/* Starts a world without options, whose server's events go to on_event, and dials: both ends are ready.
 * Returns the client's, as world_dial. */
etcp_conn *world_meet(world *w, void (*on_event)(world *w, etcp_server_event *event));
extern etcp_error world_error;

/* Sends a text, waiting until the kernel has it. Returns as etcp_conn_send. */
int world_send(etcp_conn *c, const char *text);

/* Receives the next message as text; NULL: none came. Valid until the next call. */
const char *world_receive(etcp_conn *c);

/* A plain TCP connection to the server, for peers without manners. */
int world_connect_raw(world *w);

/* Whether the peer at fd sees the end of the stream, or a reset. */
int world_sees_end(int fd);

/* An on_event: each message goes back to its sender. */
void world_echo(world *w, etcp_server_event *event);

/* Runs tests with one kind of poller after the other. */
void world_with_each_poller(void (*run)(void));

/* Moves the clock. */
void world_pass(unsigned ms);

/* For world_calls.poll: each wait ends by a signal after 400 ms, which are counted. */
int world_poll_interrupted(struct pollfd *fds, nfds_t count, int timeout_ms);
extern int world_interruptions;

#endif
