#include "process.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "split.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static etcp_fork_hook *hooks; /* guarded by lock */
static etcp_heir *heirs;      /* guarded by lock */
static unsigned sharing = 1;  /* guarded by lock */
static unsigned rounds;       /* guarded by lock: how often hooks were run */
static size_t connected;      /* guarded by lock: connections that have a descriptor */

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

static void unlink_hook(etcp_fork_hook *h)
{
    if (h->prev)
        h->prev->next = h->next;
    else
        hooks = h->next;
    if (h->next)
        h->next->prev = h->prev;
    h->prev = h->next = NULL;
    h->listed = 0;
}

/* One of this thread that was not yet run in this round. */
static etcp_fork_hook *take_own_hook(unsigned round)
{
    unsigned long self = this_thread();
    etcp_fork_hook *h;

    (void)pthread_mutex_lock(&lock);
    for (h = hooks; h && (h->thread != self || h->ran == round); h = h->next)
        ;
    if (h) {
        unlink_hook(h);
        h->ran = round;
    }
    (void)pthread_mutex_unlock(&lock);
    return h;
}

/* What was gathered leaves before the fork: the child must not deliver it a second time, and a
 * parent that waits for its child must not delay it. */
static void before_fork(void)
{
    etcp_fork_hook *h;
    unsigned round;

    (void)pthread_mutex_lock(&lock);
    round = ++rounds;
    (void)pthread_mutex_unlock(&lock);
    while ((h = take_own_hook(round)) != NULL)
        h->run(h);
    (void)pthread_mutex_lock(&lock);
    if (connected)
        etcp_split_prepare();
}

static void after_fork_in_parent(void)
{
    sharing++;
    if (connected)
        etcp_split_in_parent(sharing);
    (void)pthread_mutex_unlock(&lock);
}

/* Those of other threads have nobody here who could use them. */
static void hand_down(void)
{
    unsigned long self = this_thread();
    etcp_heir *h;

    for (h = heirs; h; h = h->next)
        if (h->thread == self)
            h->inherit(h);
}

static void after_fork_in_child(void)
{
    sharing++;
    if (connected)
        etcp_split_in_child(sharing);
    etcp_process_generation_now++;
    hand_down();
    /* The threads these belonged to do not exist here. */
    while (hooks)
        unlink_hook(hooks);
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

void etcp_process_lock(void)
{
    (void)pthread_mutex_lock(&lock);
}

void etcp_process_unlock(void)
{
    (void)pthread_mutex_unlock(&lock);
}

void etcp_process_add_heir(etcp_heir *h)
{
    (void)pthread_mutex_lock(&lock);
    h->thread = this_thread();
    h->prev = NULL;
    h->next = heirs;
    if (heirs)
        heirs->prev = h;
    heirs = h;
    (void)pthread_mutex_unlock(&lock);
}

void etcp_process_remove_heir(etcp_heir *h)
{
    (void)pthread_mutex_lock(&lock);
    if (h->prev)
        h->prev->next = h->next;
    else
        heirs = h->next;
    if (h->next)
        h->next->prev = h->prev;
    (void)pthread_mutex_unlock(&lock);
}

unsigned etcp_process_sharing(void)
{
    unsigned now;

    (void)pthread_mutex_lock(&lock);
    now = sharing;
    (void)pthread_mutex_unlock(&lock);
    return now;
}

unsigned etcp_process_connected(void)
{
    unsigned now;

    (void)pthread_mutex_lock(&lock);
    connected++;
    now = sharing;
    (void)pthread_mutex_unlock(&lock);
    return now;
}

void etcp_process_disconnected(void)
{
    (void)pthread_mutex_lock(&lock);
    if (--connected == 0)
        etcp_split_forget();
    (void)pthread_mutex_unlock(&lock);
}

void etcp_process_share(void)
{
    (void)pthread_mutex_lock(&lock);
    etcp_split_unseen(++sharing);
    (void)pthread_mutex_unlock(&lock);
}

int etcp_process_is_sole(unsigned since)
{
    int is_sole;

    (void)pthread_mutex_lock(&lock);
    is_sole = etcp_split_is_over(since);
    (void)pthread_mutex_unlock(&lock);
    return is_sole;
}

void etcp_process_hook(etcp_fork_hook *h)
{
    if (h->listed)
        return;
    (void)pthread_mutex_lock(&lock);
    h->thread = this_thread();
    h->prev = NULL;
    h->next = hooks;
    if (hooks)
        hooks->prev = h;
    hooks = h;
    h->listed = 1;
    (void)pthread_mutex_unlock(&lock);
}

void etcp_process_unhook(etcp_fork_hook *h)
{
    if (!h->listed)
        return;
    (void)pthread_mutex_lock(&lock);
    unlink_hook(h);
    (void)pthread_mutex_unlock(&lock);
}
