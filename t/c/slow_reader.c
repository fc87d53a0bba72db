#include "slow_reader.h"

#include <sys/socket.h>

void slow_small_buffers(int fd)
{
    int size = 262144;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

etcp_conn *slow_server_side;

void slow_note(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_CONNECT) {
        slow_server_side = e->conn;
        slow_small_buffers(etcp_conn_fd(e->conn));
    }
}

int slow_read(world *w, etcp_conn *c)
{
    uint64_t since;
    etcp_event event;
    int count = 0;

    for (;;) {
        since = 0;
        if (etcp_conn_receive(c, 1000, &since, &event) != 1)
            return count;
        if (event.len != 10000 || event.data[0] != (uint8_t)count)
            return -1;
        count++;
        if (w->server)
            (void)world_round(w);
    }
}

int slow_send(etcp_conn *to)
{
    static uint8_t block[10000];
    int rc = 0;
    int i;

    for (i = 0; i < SLOW_COUNT && rc == 0; i++) {
        block[0] = (uint8_t)i;
        rc = etcp_conn_send(to, 0, block, sizeof block, NULL, NULL);
    }
    return rc;
}

etcp_conn *slow_start(world *w, const etcp_server_options *options)
{
    etcp_conn *c;

    world_start(w, options);
    w->on_event = slow_note;
    c = world_dial(w);
    world_pump(w);
    return c;
}
