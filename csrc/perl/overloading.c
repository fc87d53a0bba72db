#include "overloading.h"

#include "storable_private.h"

void etcp_overloading_look(pTHX_ HV *stash)
{
#ifdef HvAMAGIC_off /* from Perl 5.18 on: before, objects know it, not classes */
    /* It is for perl to warn of parents that are missing, when a script makes it look. */
    if (!HvAMAGIC(stash) || etcp_storable_may_warn(aTHX_ stash) || Gv_AMupdate(stash, TRUE) != 0)
        return;
    HvAMAGIC_off(stash);
    sv_unmagic((SV *)stash, PERL_MAGIC_overload_table);
#else
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_ARG(stash);
#endif
}
