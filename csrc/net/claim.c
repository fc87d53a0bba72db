#include "claim.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#if !defined(MAP_ANONYMOUS) && defined(MAP_ANON)
#define MAP_ANONYMOUS MAP_ANON
#endif

enum { WORDS = 1024 };

/* Words are never used twice, since another process may still look at one that this process gave
 * up; a page goes when the last of its words does, or is kept for the next ones. */
typedef struct slab {
    uint32_t *words;
    unsigned next; /* the first that was never used */
    unsigned live;
    unsigned sharing; /* see etcp_process_sharing: a child must not use up the same words */
    struct slab *older;
} slab;

/* A page whose words are all given up, but not all used: a server with one client after another would
 * ask the system for a page each time. words is NULL when there is none. */
typedef struct kept_page {
    uint32_t *words;
    unsigned next;
    unsigned sharing;
} kept_page;

static slab *slabs;       /* guarded by etcp_process_lock, as is kept */
static kept_page kept;
static uint32_t *counter; /* of tokens, shared; guarded by etcp_process_lock until it is there */
static uint32_t token;    /* of this process, 0: not drawn yet; guarded likewise */
static unsigned token_generation;

#if defined(__GNUC__) && defined(MAP_ANONYMOUS)

static uint32_t *map_words(void)
{
    void *words = mmap(NULL, WORDS * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return words == MAP_FAILED ? NULL : words;
}

static uint32_t next_token(void)
{
    return __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static uint32_t look(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static int swap_from_zero(uint32_t *word, uint32_t value)
{
    uint32_t zero = 0;

    return __atomic_compare_exchange_n(word, &zero, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#else

static uint32_t *map_words(void)
{
    return NULL;
}

static uint32_t next_token(void)
{
    return 0;
}

static uint32_t look(const uint32_t *word)
{
    return *word;
}

static void store(uint32_t *word, uint32_t value)
{
    *word = value;
}

static int swap_from_zero(uint32_t *word, uint32_t value)
{
    (void)word;
    (void)value;
    return 0;
}

#endif

/* ---- words ----------------------------------------------------------------------------------- */

/* The token of this process. */
static uint32_t own_token(void)
{
    if (token_generation == etcp_process_generation())
        return token;
    etcp_process_lock();
    if (token_generation != etcp_process_generation()) {
        token = next_token();
        token_generation = etcp_process_generation();
    }
    etcp_process_unlock();
    return token;
}

static void unmap(uint32_t *words)
{
    if (words)
        (void)munmap(words, WORDS * sizeof(uint32_t));
}

/* A page of words, from *next on never used. */
static uint32_t *get_page(unsigned sharing, unsigned *next)
{
    uint32_t *words = kept.words;

    *next = kept.next;
    kept.words = NULL;
    if (words && kept.sharing == sharing)
        return words;
    unmap(words);
    *next = 0;
    return map_words();
}

static slab *add_slab(unsigned sharing)
{
    slab *s = etcp_zalloc(sizeof *s);

    if (!s)
        return NULL;
    s->words = get_page(sharing, &s->next);
    if (!s->words) {
        etcp_free(s);
        return NULL;
    }
    s->sharing = sharing;
    s->older = slabs;
    slabs = s;
    return s;
}

static uint32_t *take_word(unsigned sharing)
{
    slab *s = slabs;

    if (!counter)
        counter = map_words();
    if (!counter)
        return NULL;
    if (!s || s->next == WORDS || s->sharing != sharing)
        s = add_slab(sharing);
    if (!s)
        return NULL;
    s->live++;
    return &s->words[s->next++];
}

static void drop_word(const uint32_t *word)
{
    slab **at = &slabs;
    slab *s;

    while (*at && !(word >= (*at)->words && word < (*at)->words + WORDS))
        at = &(*at)->older;
    s = *at;
    if (!s || --s->live > 0)
        return;
    *at = s->older;
    if (s->next < WORDS) {
        unmap(kept.words);
        kept.words = s->words;
        kept.next = s->next;
        kept.sharing = s->sharing;
    } else {
        unmap(s->words);
    }
    etcp_free(s);
}

/* ---- claims ---------------------------------------------------------------------------------- */

/* Whoever comes first after the fork has it. Output that is still on its way would come from two
 * processes: then it stays here. */
static void release_before_fork(etcp_fork_hook *h)
{
    etcp_claim *c = (etcp_claim *)(void *)h;

    if (c->is_idle(c) && look(c->word) == own_token())
        store(c->word, 0);
}

static void own(etcp_claim *c)
{
    c->hook.run = release_before_fork;
    etcp_process_hook(&c->hook);
}

void etcp_claim_init(etcp_claim *c, int (*is_idle)(etcp_claim *c))
{
    unsigned sharing = etcp_process_sharing();

    memset(&c->hook, 0, sizeof c->hook);
    c->is_idle = is_idle;
    c->generation = etcp_process_generation();
    etcp_process_lock();
    c->word = take_word(sharing);
    etcp_process_unlock();
    if (!c->word)
        return;
    store(c->word, own_token());
    own(c);
}

void etcp_claim_deinit(etcp_claim *c)
{
    etcp_process_unhook(&c->hook);
    if (!c->word)
        return;
    etcp_process_lock();
    drop_word(c->word);
    etcp_process_unlock();
    c->word = NULL;
}

int etcp_claim_is_ours(const etcp_claim *c)
{
    if (!c->word)
        return c->generation == etcp_process_generation();
    return look(c->word) == own_token();
}

int etcp_claim_take(etcp_claim *c)
{
    if (!etcp_claim_is_ours(c) && (!c->word || !swap_from_zero(c->word, own_token())))
        return 0;
    if (!c->hook.listed && c->word)
        own(c); /* it was taken out of the list by a fork */
    return 1;
}
