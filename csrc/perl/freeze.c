#include "freeze_private.h"

#include "base/mem.h"

enum {
    WRAPPING = 1000,     /* levels beyond what may come in, for what a program wraps around it */
    KEPT_FRAMES = 16384, /* larger tables do not outlive their image */
    KEPT_CLASSES = 256,
    FIRST_FRAMES = 32
};

/* ---- frames ---------------------------------------------------------------------------------- */

/* Deeper than what may come in, Storable's own limits count, which go by about one in two of our
 * levels. Storables without limits go on until the C stack ends; here is none. Returns whether
 * level may be. */
static int may_nest(pTHX_ etcp_freezer *z)
{
    GV *const limits[] = {z->state->recursion_limit, z->state->recursion_limit_hash};
    int i;

    for (i = 0; i < 2; i++) {
        SV *limit = etcp_storable_setting(aTHX_ limits[i]);
        if (limit && (SvGMAGICAL(limit) || SvROK(limit)))
            return 0; /* reading it may run Perl code: Storable does, and goes on */
        if (limit && SvOK(limit) && !looks_like_number(limit))
            return 0; /* so may the warning */
        if (!limit || !SvOK(limit) || SvIV(limit) < 0)
            z->deepest = SIZE_MAX;
        else if ((UV)SvIV(limit) > z->deepest / 2)
            z->deepest = 2 * (size_t)SvIV(limit);
    }
    return z->level < z->deepest;
}

static int grow_frames(etcp_freezer *z)
{
    size_t cap = z->frame_cap ? z->frame_cap * 2 : FIRST_FRAMES;
    etcp_freeze_frame *frames;

    if (cap > SIZE_MAX / sizeof *frames)
        return ETCP_ENOMEM;
    frames = etcp_realloc(z->frames, cap * sizeof *frames);
    if (!frames)
        return ETCP_ENOMEM;
    z->frames = frames;
    z->frame_cap = cap;
    return 0;
}

int etcp_freeze_reserve_frame(pTHX_ etcp_freezer *z)
{
    if (z->level >= z->deepest && !may_nest(aTHX_ z))
        return ETCP_FREEZE_FOREIGN;
    return z->depth == z->frame_cap ? grow_frames(z) : 0;
}

void etcp_freeze_pop(etcp_freezer *z)
{
    etcp_freeze_frame *f = &z->frames[--z->depth];

    if (f->kind == ETCP_FREEZE_SORTED)
        etcp_free(f->u.entries);
}

int etcp_freeze_below(pTHX_ etcp_freezer *z, SV *item, SV **next)
{
    if (z->level >= z->deepest && !may_nest(aTHX_ z))
        return ETCP_FREEZE_FOREIGN;
    z->level++;
    *next = item;
    return ETCP_FREEZE_NEXT;
}

/* ---- while Perl code runs -------------------------------------------------------------------- */

int etcp_freeze_needs(etcp_freezer *z, etcp_freeze_mode mode)
{
    if (z->mode >= mode)
        return 0;
    z->mode = mode;
    return 1;
}

int etcp_freeze_needs_storable(etcp_freezer *z)
{
    const int had_more = z->can != 0;

    z->can = 0;
    return etcp_freeze_needs(z, ETCP_FREEZE_HOLDING) || had_more;
}

void etcp_freeze_hold(pTHX_ etcp_freezer *z, SV *owned)
{
    if (!z->held)
        z->held = newAV();
    av_push(z->held, owned);
}

static void drop_classes(pTHX_ etcp_freezer *z)
{
    HV *numbers = z->class_numbers;

    z->class_numbers = NULL;
    z->named_classes = 0;
    SvREFCNT_dec((SV *)numbers);
    while (z->class_count) {
        const etcp_freeze_class *c = &z->classes[--z->class_count];
        SvREFCNT_dec((SV *)c->hook);
        SvREFCNT_dec((SV *)c->stash);
    }
    if (z->class_cap > KEPT_CLASSES) {
        etcp_free(z->classes);
        z->classes = NULL;
        z->class_cap = 0;
    }
}

void etcp_freeze_end_loans(pTHX_ etcp_freezer *z)
{
    while (z->w.loan_count)
        SvREFCNT_dec((SV *)z->w.loans[--z->w.loan_count].owner);
}

void etcp_freezer_clean(pTHX_ etcp_freezer *z)
{
    AV *held = z->held;

    while (z->depth)
        etcp_freeze_pop(z);
    drop_classes(aTHX_ z);
    z->held = NULL;
    SvREFCNT_dec((SV *)held);
}

/* Gives the freezer back to be used again. Another one may have taken its place meanwhile. */
static void give_back(pTHX_ etcp_freezer *z)
{
    etcp_storable_state *s = z->state;

    etcp_freezer_free(aTHX_ s->freezer);
    s->freezer = z;
}

static void abandon(pTHX_ void *arg)
{
    etcp_freezer *z = (etcp_freezer *)arg;

    if (!z->is_guarded)
        return;
    z->is_guarded = 0;
    etcp_freeze_end_loans(aTHX_ z);
    etcp_freezer_clean(aTHX_ z);
    give_back(aTHX_ z);
}

void etcp_freeze_guard(pTHX_ etcp_freezer *z)
{
    if (z->is_guarded)
        return;
    z->is_guarded = 1;
    ENTER;
    SAVEDESTRUCTOR_X(abandon, z);
}

void etcp_freezer_finish(pTHX_ etcp_freezer *z)
{
    if (z->is_guarded) {
        z->is_guarded = 0;
        LEAVE;
    }
    if (z->depth || z->class_count || z->held)
        etcp_freezer_clean(aTHX_ z);
    if (z->frame_cap > KEPT_FRAMES) {
        etcp_free(z->frames);
        z->frames = NULL;
        z->frame_cap = 0;
    }
    give_back(aTHX_ z);
}

void etcp_freezer_free(pTHX_ etcp_freezer *z)
{
    if (!z)
        return;
    etcp_freeze_end_loans(aTHX_ z);
    etcp_freezer_clean(aTHX_ z);
    etcp_free(z->frames);
    etcp_free(z->classes);
    etcp_storable_writer_deinit(&z->w);
    etcp_free(z);
}

etcp_freezer *etcp_freezer_take(etcp_storable_state *s)
{
    etcp_freezer *z = s->freezer;

    s->freezer = NULL;
    if (!z) {
        z = etcp_zalloc(sizeof *z);
        if (!z)
            return NULL;
        etcp_storable_writer_init(&z->w);
    }
    z->state = s;
    z->mode = ETCP_FREEZE_PLAIN;
    z->deepest = s->max_depth + WRAPPING;
    return z;
}
