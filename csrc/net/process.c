#include "process.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static etcp_holder *holders; /* guarded by lock */
static unsigned sharing = 1; /* guarded by lock */

unsigned etcp_process_generation_now = 1; /* changes only in a new child, which has one thread */

/* pthread_t may be a structure: its bytes are folded, and equal threads give equal numbers. */
static unsigned long this_thread(void)
{
    pthread_t self = pthread_self();
    unsigned char bytes[sizeof self];
    unsigned long number = 0;
    size_t i;

    memcpy(bytes, &self, sizeof self);
    for (i = 0; i < sizeof bytes; i++)
        number = number * 31 + bytes[i];
    return number;
}

static void unlink_holder(etcp_holder *h)
{
    if (h->prev)
        h->prev->next = h->next;
    else
        holders = h->next;
    if (h->next)
        h->next->prev = h->prev;
    h->prev = h->next = NULL;
    h->listed = 0;
}

static etcp_holder *take_own_holder(void)
{
    unsigned long self = this_thread();
    etcp_holder *h;

    (void)pthread_mutex_lock(&lock);
    for (h = holders; h && h->thread != self; h = h->next)
        ;
    if (h)
        unlink_holder(h);
    (void)pthread_mutex_unlock(&lock);
    return h;
}

/* What was held back leaves before the fork: the child must not deliver it a second time, and a
 * parent that waits for its child must not delay it. */
static void before_fork(void)
{
    etcp_holder *h;

    while ((h = take_own_holder()) != NULL)
        h->flush(h);
    (void)pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    sharing++;
    (void)pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    sharing++;
    etcp_process_generation_now++;
    /* The threads these belonged to do not exist here. */
    while (holders)
        unlink_holder(holders);
    (void)pthread_mutex_unlock(&lock);
}

static void register_handlers(void)
{
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void etcp_process_watch(void)
{
    (void)pthread_once(&once, register_handlers);
}

unsigned etcp_process_sharing(void)
{
    unsigned now;

    (void)pthread_mutex_lock(&lock);
    now = sharing;
    (void)pthread_mutex_unlock(&lock);
    return now;
}

void etcp_process_share(void)
{
    (void)pthread_mutex_lock(&lock);
    sharing++;
    (void)pthread_mutex_unlock(&lock);
}

void etcp_process_hold(etcp_holder *h)
{
    if (h->listed)
        return;
    (void)pthread_mutex_lock(&lock);
    h->thread = this_thread();
    h->prev = NULL;
    h->next = holders;
    if (holders)
        holders->prev = h;
    holders = h;
    h->listed = 1;
    (void)pthread_mutex_unlock(&lock);
}

void etcp_process_forget(etcp_holder *h)
{
    if (!h->listed)
        return;
    (void)pthread_mutex_lock(&lock);
    unlink_holder(h);
    (void)pthread_mutex_unlock(&lock);
}
