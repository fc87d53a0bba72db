/* A server's side of a connection to somebody who may not read, for the tests of csrc/net/. */
#ifndef ETCP_T_SLOW_READER_H
#define ETCP_T_SLOW_READER_H

#include "net_world.h"

enum { SLOW_COUNT = 300 }; /* messages of 10000 bytes: more than the system's buffers hold */

/* The server's side of the client that connected last, by slow_note. */
extern etcp_conn *slow_server_side;

/* Makes the buffers of a socket small. */
void slow_small_buffers(int fd);

/* An on_event: notes a client that connects. */
void slow_note(world *w, etcp_server_event *e);

/* Starts the server, and connects a client, which is noted. The caller's to drop. */
etcp_conn *slow_start(world *w, const etcp_server_options *options);

/* Sends SLOW_COUNT messages. Returns the first failure, or 0. */
int slow_send(etcp_conn *to);

/* Reads what the server queued. Returns how many of these messages came, or -1: another one did. */
int slow_read(world *w, etcp_conn *c);

#endif
