/* What the whole process shares: forks and duplicated descriptors are noticed here, and output that
 * is gathered gets out before a fork. */
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

/* A number that grows whenever descriptors get a second owner: by fork, in both processes, or by
 * cloning for a thread. Never 0. */
unsigned etcp_process_sharing(void);

/* A connection was made, or has given its descriptor back: while there are any, forks are watched.
 * The first returns the number above. */
unsigned etcp_process_connected(void);
void etcp_process_disconnected(void);

/* Notes that descriptors were cloned for a thread. */
void etcp_process_share(void);

/* Whether a descriptor made when the number was since has this process as its only owner: every
 * process that got it by a fork since is gone, or another program by now. Where it has not,
 * shutdown(2) would reach into the other owner's business. */
int etcp_process_is_sole(unsigned since);

/* For data of all threads that must be whole in a child: held while the process forks. */
void etcp_process_lock(void);
void etcp_process_unlock(void);

/* What has to be done before a fork. All zero at first. */
typedef struct etcp_fork_hook etcp_fork_hook;
struct etcp_fork_hook {
    etcp_fork_hook *prev, *next;
    void (*run)(etcp_fork_hook *h); /* writes gathered output; h is no longer listed then */
    unsigned long thread;           /* only forks of this thread run it */
    unsigned ran;                   /* in which round of them it was run */
    int listed;
};

/* Lists h: when this thread forks, h->run is called first, in the parent, once. Listed again meanwhile,
 * it waits for the next fork. */
void etcp_process_hook(etcp_fork_hook *h);

/* Takes h out of the list, if it is in it. */
void etcp_process_unhook(etcp_fork_hook *h);

/* A place in the list of what a forked child has to make anew before fork returns. All zero at
 * first. */
typedef struct etcp_heir etcp_heir;
struct etcp_heir {
    etcp_heir *prev, *next;
    void (*inherit)(etcp_heir *h); /* in the child: only what is safe in a signal handler */
    unsigned long thread;          /* only what this one made goes on in its child */
};

/* Lists h: when the thread that calls this forks, inherit is called in the child. */
void etcp_process_add_heir(etcp_heir *h);

/* Takes h out of the list, where it must be. */
void etcp_process_remove_heir(etcp_heir *h);

#endif
