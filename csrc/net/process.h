/* What the whole process shares: forks and duplicated descriptors are noticed here, and output that
 * is held back gets out before a fork. */
#ifndef ETCP_NET_PROCESS_H
#define ETCP_NET_PROCESS_H

/* Registers the fork handlers, once. Cheap to call again. */
void etcp_process_watch(void);

/* A number that is another one in every process: what differs from it was made by a parent. Asked
 * for with every message; written by process.c only. */
extern unsigned etcp_process_generation_now;

static inline unsigned etcp_process_generation(void)
{
    return etcp_process_generation_now;
}

/* A number that grows whenever descriptors made so far got a second owner: by fork, in both
 * processes, or by cloning for a thread. Where it grew, shutdown(2) would reach into the other
 * owner's business. Never 0. */
unsigned etcp_process_sharing(void);
void etcp_process_share(void);

/* A place in the list of those that hold output back. All zero at first. */
typedef struct etcp_holder etcp_holder;
struct etcp_holder {
    etcp_holder *prev, *next;
    void (*flush)(etcp_holder *h); /* writes everything out; called without etcp_process_forget */
    unsigned long thread;          /* only its own thread may flush it */
    int listed;
};

/* Lists h: when its thread forks, flush is called first, in the parent. */
void etcp_process_hold(etcp_holder *h);

/* Takes h out of the list, if it is in it. */
void etcp_process_forget(etcp_holder *h);

#endif
