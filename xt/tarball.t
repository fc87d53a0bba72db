# The distribution as a user gets it: made twice (the same bytes), unpacked, looked over, built, tested,
# installed into a directory of its own, and used from there. Works on a copy of the files in MANIFEST.

use strict;
use warnings;

use Config;
use Cwd qw(getcwd);
use Digest::SHA ();
use ExtUtils::Manifest qw(maniread manicopy);
use File::Temp ();
use Test::More;

my $make = $Config{make};
my $home = getcwd();
my $temp = File::Temp::tempdir(CLEANUP => 1);
END { chdir $home if defined $home }

sub run_ok {
    my ($command, $what) = @_;
    my $output = `$command 2>&1`;
    my $passed = ok($? == 0, $what);
    diag($output) if !$passed;
    return $output;
}

sub content_of {
    my $file = shift;
    open my $fh, '<', $file or return '';
    binmode $fh;
    local $/ = undef;
    return scalar <$fh>;
}

$ExtUtils::Manifest::Quiet = 1;
my $files = maniread();
delete $files->{$_} for grep { /^META\./ } keys %$files;

my %digest;
for my $copy (qw(one two)) {
    umask($copy eq 'one' ? 022 : 027);
    manicopy($files, "$temp/$copy", 'cp');
    chdir "$temp/$copy" or die "Cannot enter $temp/$copy: $!";
    run_ok("$^X Makefile.PL && $make dist", "copy $copy makes a distribution");
    my ($tarball) = glob 'Net-EasyTCP-*.tar.gz';
    $digest{$copy} = Digest::SHA->new(256)->addfile($tarball, 'b')->hexdigest;
    run_ok("cd $temp && tar xzf $copy/$tarball", 'which unpacks') if $copy eq 'one';
    chdir $home;
}
umask 022;
is($digest{two}, $digest{one}, 'both are the same, byte by byte');

my ($dir) = grep { -d } glob "$temp/Net-EasyTCP-*";
like($dir, qr{/Net-EasyTCP-\d+\.\d\d\z}, 'it unpacks into a directory of its own name');
chdir $dir or die "Cannot enter $dir: $!";

check_files();
check_metadata();

run_ok("$^X Makefile.PL", 'perl Makefile.PL');
run_ok($make, 'make');
run_ok("$make test", 'make test');
run_ok("$^X Makefile.PL INSTALL_BASE=$temp/installed && $make install", 'make install into a directory');
my $lib = "$temp/installed/lib/perl5";
ok(-e "$lib/$Config{archname}/Net/EasyTCP.pm", 'the module is there');
ok(-e "$lib/$Config{archname}/auto/Net/EasyTCP/EasyTCP.$Config{dlext}", 'so is the shared object');

check_documents();
mkdir "$temp/away" or die "Cannot make $temp/away: $!";
chdir "$temp/away" or die "Cannot enter $temp/away: $!";
my $used = run_ok("$^X -I$lib -MNet::EasyTCP -e 'print \$INC{q(Net/EasyTCP.pm)}'", 'it is used from there');
like($used, qr/^\Q$temp\E/, 'and from nowhere else');
mkdir 'tools';
system "mkdir -p t/lib && cp $home/t/lib/OldPeer.pm t/lib/";
system "cp $home/tools/demo.pl tools/ && cp -R $lib/$Config{archname}/Net/EasyTCP/examples .";
run_ok("$^X -I$lib tools/demo.pl", 'the demonstration runs with it');
done_testing();

# What is installed is found, and copied as the cookbook says, by somebody who has unpacked nothing.
sub check_documents {
    my $archive  = "$lib/$Config{archname}";
    my @packed   = split /\n/, content_of("$archive/auto/Net/EasyTCP/.packlist");
    my @examples = map { "$archive/Net/EasyTCP/$_" } grep { m{\Aexamples/} } keys %{ maniread() };
    my %packed   = map { $_ => 1 } @packed;
    is_deeply([ grep { !-e } @packed ], [], 'all that is to be removed with it is there');
    is_deeply([ grep { !$packed{$_} } @examples ], [], 'the examples among it');
    my ($commands) = content_of("$archive/Net/EasyTCP/Cookbook.pod") =~ /\n\n((?: +(?:cp|chmod) [^\n]+\n)+)\n/;
    ok($commands, 'the cookbook says how to copy them') or return;
SKIP: {
        my $said = `perldoc -V 2>&1`;
        skip 'perldoc is not here', 2 if !defined $said || $said !~ /^Perldoc v/m;
        mkdir "$temp/copy" or die "Cannot make $temp/copy: $!";
        chmod 0755, $temp;    # perldoc is nobody where we are root
        run_ok("cd $temp/copy && PERL5LIB=$lib sh -ec '$commands'", 'this copies them');
        is_deeply([ grep { !-w "$temp/copy/$_" } qw(examples/chat.pl examples/systemd/easytcp.service) ], [],
            'and they can be changed');
    }
    return;
}

sub check_files {
    ok(-s $_, "$_ is in it") for qw(README.md LICENSE Changes MANIFEST META.json META.yml SECURITY.md
        CONTRIBUTING.md Makefile.PL EasyTCP.xs lib/Net/EasyTCP.pm lib/Net/EasyTCP/Protocol.pod
        examples/echo-server.pl examples/echo-client.pl t/00-load.t);
    my @listed = sort keys %{ maniread() };
    is_deeply([ grep { !-e } @listed ], [], 'every file of MANIFEST is in it');
    my @odd = grep { m{\A\.|\.(?:o|so|bs|a|bak|orig|rej|swp)\z|~\z|core\z} || !/\A[\w.\/+-]+\z/ } @listed;
    is_deeply(\@odd, [], 'no hidden file, no leftover, no odd name');
    is_deeply([ grep { !/ppport\.h\z/ && -s $_ > 1_500_000 } @listed ], [], 'no huge file');
    my @sloppy = grep { /\.(?:pm|pl|PL|t)\z/ && content_of($_) !~ /^use strict;/m } @listed;
    is_deeply(\@sloppy, [], 'all Perl is strict');
    my @paths = grep { $_ ne 'xt/tarball.t' && content_of($_) =~ m{(?<![\w.])/(?:home|work|tmp/\w+)/\w} }
        grep { !m{\At/data/} && -T } @listed;
    is_deeply(\@paths, [], 'no path of a developer');
}

sub check_metadata {
    my $meta = eval { require CPAN::Meta; CPAN::Meta->load_file('META.json') };
    ok($meta, 'META.json can be read') or return diag($@);
    is($meta->meta_spec_version, 2, 'it follows version 2');
    is($meta->name, 'Net-EasyTCP', 'the name');
    is_deeply([ $meta->license ], ['perl_5'], 'the licence');
    cmp_ok(length $meta->abstract, '<', 101, 'an abstract of a line');
    is($meta->effective_prereqs->requirements_for('runtime', 'requires')->requirements_for_module('perl'),
        '5.008009', 'the oldest perl');
    ok($meta->provides->{'Net::EasyTCP'}, 'it says what is in it');
    ok($meta->resources->{bugtracker}, 'and where bugs go');
    ok($meta->dynamic_config, 'Makefile.PL has to be run');
    ok(!$meta->should_index_file('t/lib/EasyTCPTest.pm'), 'the tests are not indexed');
    ok($meta->should_index_file('lib/Net/EasyTCP.pm'), 'the module is');
}
