# Every module that is used is declared, in the phase it is used in, and belongs to perl itself.

use strict;
use warnings;

use Module::CoreList ();
use Test::More;

# What Makefile.PL declares, read from what it writes.
my $meta = eval { require CPAN::Meta; CPAN::Meta->load_file('MYMETA.json') }
    or plan skip_all => 'Run perl Makefile.PL first, with a CPAN::Meta';
my %declared;
for my $phase (qw(configure build test runtime)) {
    $declared{$phase}{$_} = 1 for $meta->effective_prereqs->requirements_for($phase,
        'requires')->required_modules;
}

my %files = (
    configure => [ 'Makefile.PL', glob 'inc/*/*.pm' ],
    runtime   => [ map { glob } qw(lib/Net/*.pm lib/Net/*/*.pm) ],
    test      => [ glob 't/*.t t/lib/*.p[lm]' ],
);
# Of the distribution itself.
my %own = map { (my $name = $_) =~ s{\A(?:lib|inc|t/lib)/(.*)\.pm\z}{$1}; $name =~ s{/}{::}g; ($name => 1) }
    map { glob } qw(lib/Net/*.pm lib/Net/*/*.pm inc/*/*.pm t/lib/*.pm);

for my $phase (sort keys %files) {
    my %used;
    for my $file (@{ $files{$phase} }) {
        open my $fh, '<', $file or die "Cannot read $file: $!";
        while (my $line = <$fh>) {
            last if $line =~ /\A__(?:END|DATA)__/;
            next if $line =~ /\A=\w/ .. $line =~ /\A=cut/;
            # What is indented may be optional: in an eval, or behind a condition.
            $used{$1} ||= $file if $line =~ /\Ause\s+([A-Za-z][\w:]*)/ && $1 !~ /\Av?5\b/;
        }
    }
    for my $module (grep { !$own{$_} } sort keys %used) {
        my $known = $declared{$phase}{$module} || ($phase eq 'test' && $declared{runtime}{$module})
            || $module =~ /\A(?:strict|warnings|vars|lib|constant|integer|bytes|overload|utf8)\z/;
        ok($known, "$phase: $module is declared") or diag("used by $used{$module}");
        ok(Module::CoreList::first_release($module), "$phase: $module comes with perl");
    }
}
done_testing();
