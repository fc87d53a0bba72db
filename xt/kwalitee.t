# The tarball, as CPAN's quality metrics see it: the core, extra and experimental ones that
# Module::CPANTS::Analyse knows.

use strict;
use warnings;

use Config;
use Cwd qw(getcwd);
use ExtUtils::Manifest qw(maniread manicopy);
use File::Temp ();
use Test::More;

eval {
    require Module::CPANTS::Kwalitee;
    require Module::CPANTS::Analyse;
    1;
} or plan skip_all => 'Module::CPANTS::Analyse is not here';

# Where the sources are kept may change; CPAN has them.
my %does_not_apply = (meta_yml_has_repository_resource => 'META names no repository');

my $home = getcwd();
my $copy = File::Temp::tempdir(CLEANUP => 1) . '/copy';
END { chdir $home if defined $home }

$ExtUtils::Manifest::Quiet = 1;
my $files = maniread();
delete $files->{$_} for grep { /^META\./ } keys %$files;
manicopy($files, $copy, 'cp');
chdir $copy or die "Cannot enter $copy: $!";
my $output = `$^X Makefile.PL 2>&1 && $Config{make} dist 2>&1`;
my ($tarball) = glob 'Net-EasyTCP-*.tar.gz';
ok($tarball, 'there is a tarball') or diag($output);

my $analysis = Module::CPANTS::Analyse->new({ dist => "$copy/$tarball" });
$analysis->run;
my $result = $analysis->d->{kwalitee};
for my $generator (@{ $analysis->mck->generators }) {
    for my $metric (@{ $generator->kwalitee_indicators }) {
        my $name = $metric->{name};
        next if !defined $result->{$name};    # for lists of all of CPAN
        if ($does_not_apply{$name}) {
            note("$name does not apply: $does_not_apply{$name}");
            next;
        }
        ok($result->{$name}, $name) or diag($metric->{error}, "\n", explain($analysis->d->{error}{$name}));
    }
}
done_testing();
