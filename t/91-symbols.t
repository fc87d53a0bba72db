# The shared object exports the function that perl calls to load it, and nothing else: two copies of a
# name in one process would be one of them at random.

use strict;
use warnings;

use Config;
use DynaLoader ();
use File::Spec;
use Test::More;

use Net::EasyTCP;

my ($object) = grep { m{/Net/EasyTCP/EasyTCP\.} } @DynaLoader::dl_shared_objects;
plan skip_all => 'Net::EasyTCP is linked statically' if !$object;

my $null = File::Spec->devnull;
my $nm   = $Config{nm} || 'nm';
my @how  = $^O eq 'darwin' ? ('-gU') : ('-D --defined-only');
my @symbols = `$nm @how $object 2>$null`;
plan skip_all => "$nm cannot list the symbols of $object" if $? != 0 || !@symbols;

plan tests => 2;
my @names = map { /\s[A-TV-Z]\s+_?(\w+)/ ? $1 : () } @symbols;
# The linker of some systems adds these itself.
@names = grep { !/\A_*(?:init|fini|edata|end|bss_start|etext|PROCEDURE_LINKAGE_TABLE_|DYNAMIC)\z/ } @names;
is_deeply([ grep { /^boot_/ } @names ], ['boot_Net__EasyTCP'], 'the boot function is exported');

SKIP: {
    my @perl_objects = grep { !/^boot_/ } @names;
    # Before 5.16, what xsubpp made was not static.
    @perl_objects = grep { !/^XS_Net__EasyTCP_/ } @perl_objects if $] < 5.016;
    skip 'this compiler cannot hide symbols', 1 if @perl_objects && !hides_symbols();
    is_deeply(\@perl_objects, [], 'nothing else is');
}

sub hides_symbols {
    open my $makefile, '<', 'Makefile' or return 1;
    return scalar grep { /^CORE_FLAGS .*-fvisibility=hidden/ } <$makefile>;
}
