#include "callbacks.h"

#include <stddef.h>

#include "arguments.h"
#include "server_part.h"
#include "spelling.h"

/* Whether an operation below o would leave the whole subroutine by next, last or redo. Those inside a
 * loop of the subroutine's own stay in it. */
static int leaves_sub(pTHX_ const OP *o, int in_loop)
{
    const OP *kid;

    if (o->op_type == OP_NEXT || o->op_type == OP_LAST || o->op_type == OP_REDO)
        return !(in_loop && o->op_flags & OPf_SPECIAL);
    if (!(o->op_flags & OPf_KIDS))
        return 0;
    in_loop = in_loop || o->op_type == OP_LEAVELOOP;
    for (kid = cUNOPx(o)->op_first; kid; kid = OpSIBLING(kid)) {
        if (leaves_sub(aTHX_ kid, in_loop))
            return 1;
    }
    return 0;
}

/* The subroutine to call for a callback: code itself, or code inside a block. The original called from
 * within loops of its own, so that scripts could say next where they meant return. Returns a new
 * reference to the subroutine. */
static SV *callable(pTHX_ CV *code)
{
    SV *block = NULL;
    dSP;

    if (CvISXSUB(code) || !CvROOT(code) || !leaves_sub(aTHX_ CvROOT(code), 0))
        return SvREFCNT_inc_simple_NN((SV *)code);
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    XPUSHs(sv_2mortal(newRV_inc((SV *)code)));
    PUTBACK;
    if (call_pv("Net::EasyTCP::_within_block", G_SCALAR) == 1) {
        SPAGAIN;
        block = SvREFCNT_inc(SvRV(POPs));
        PUTBACK;
    }
    FREETMPS;
    LEAVE;
    return block;
}

/* The callbacks, of servers and of async clients, and where each is kept in an etcp_server_part. */
static const char *const callback_names[] = {"connect", "data",  "disconnect",
                                             "error",   "drain", "finished"};
static const size_t callback_fields[] = {
    offsetof(etcp_server_part, on_connect),
    offsetof(etcp_server_part, on_data),
    offsetof(etcp_server_part, on_disconnect),
    offsetof(etcp_server_part, on_error),
    offsetof(etcp_server_part, on_drain),
    offsetof(etcp_server_part, on_finished),
};

enum { CALLBACKS = sizeof callback_names / sizeof callback_names[0] };

static SV **callback_named(etcp_server_part *srv, const char *name)
{
    size_t i;

    for (i = 0; i < CALLBACKS; i++)
        if (strEQ(name, callback_names[i]))
            return (SV **)((char *)srv + callback_fields[i]);
    return NULL;
}

/* Enters a callback in the slot where scripts look for it. Values whose place it takes may run code when
 * they are freed, so each container is held while its content changes. */
static void list_callback(pTHX_ const etcp_object *o, SV *name, SV *code)
{
    SV **slot = hv_fetchs(o->hash, "_callbacks", 1);
    HV *table;
    HE *entry;

    if (!slot)
        return;
    if (SvROK(*slot) && SvTYPE(SvRV(*slot)) == SVt_PVHV) {
        table = (HV *)sv_2mortal(SvREFCNT_inc_simple_NN(SvRV(*slot)));
    } else {
        table = (HV *)sv_2mortal((SV *)newHV());
        sv_2mortal(SvREFCNT_inc_simple_NN(*slot));
        sv_setsv(*slot, sv_2mortal(newRV_inc((SV *)table)));
    }
    entry = hv_fetch_ent(table, name, 1, 0);
    if (entry) {
        SV *place = sv_2mortal(SvREFCNT_inc_simple_NN(HeVAL(entry)));
        sv_setsv_mg(place, sv_2mortal(newRV_inc(code)));
    }
}

int etcp_callbacks_set(pTHX_ etcp_object *o, SV *name, SV *code)
{
    SV **place;

    name = etcp_arguments_text(aTHX_ name);
    SvGETMAGIC(code);
    if (!etcp_arguments_code(code)) {
        etcp_fail(aTHX_ "Callback %" SVf " %" SVf " does not exist", SVfARG(name), SVfARG(code));
        return 0;
    }
    code = sv_2mortal(SvREFCNT_inc_simple_NN(SvRV(code)));
    place = callback_named(o->srv, SvPVX_const(name));
    if (place) {
        SV *old = *place;
        *place = callable(aTHX_ (CV *)code);
        SvREFCNT_dec(old);
    } else {
        etcp_spelling_check(aTHX_ "callback", name, callback_names, CALLBACKS);
    }
    list_callback(aTHX_ o, name, code);
    return 1;
}
