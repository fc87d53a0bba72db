#include "poller.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const etcp_poller_ops *const etcp_pollers[] = {
#ifdef ETCP_HAVE_EPOLL
    &etcp_poller_epoll,
#endif
#ifdef ETCP_HAVE_KQUEUE
    &etcp_poller_kqueue,
#endif
    &etcp_poller_poll,
    NULL,
};

static const etcp_poller_ops *chosen;

static const etcp_poller_ops *find(const char *name)
{
    size_t i;

    for (i = 0; etcp_pollers[i]; i++)
        if (strcmp(etcp_pollers[i]->name, name) == 0)
            return etcp_pollers[i];
    return NULL;
}

int etcp_poller_choose(const char *name)
{
    const etcp_poller_ops *ops = name ? find(name) : NULL;

    if (name && !ops)
        return -1;
    chosen = ops;
    return 0;
}

etcp_poller *etcp_poller_new(void)
{
    const char *wish = getenv("NET_EASYTCP_POLLER");
    const etcp_poller_ops *ops = chosen;
    etcp_poller *p;
    size_t i;

    if (!ops && wish)
        ops = find(wish);
    if (ops)
        return ops->create();
    /* A kernel or a sandbox may lack what the C library has: then the next one serves. */
    for (i = 0, p = NULL; !p && etcp_pollers[i]; i++)
        p = etcp_pollers[i]->create();
    return p;
}
