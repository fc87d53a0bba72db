# What tools/build does where packages are missing: installs them if it may, and names them if not.

use strict;
use warnings;

use Cwd qw(getcwd);
use File::Copy qw(copy);
use File::Path qw(mkpath);
use File::Temp ();
use Test::More;

my $home = getcwd();
my $temp = File::Temp::tempdir(CLEANUP => 1);
my ($sh) = grep { -x } qw(/bin/sh /usr/bin/sh) or plan skip_all => 'There is no sh in the usual places';
mkpath([ "$temp/tree/tools", "$temp/tree/inc" ]);
for my $file (qw(tools/build Makefile.PL MANIFEST)) {
    copy("$home/$file", "$temp/tree/$file") or die "Cannot copy $file: $!";
}

# Runs it where no command is known but those given, name => text of a script or file to link to, and a few
# that every system has. Each script notes how it was called. Returns the status, what was printed, and the
# notes.
sub build {
    my ($name, %commands) = @_;
    (my $bin = "$temp/$name") =~ s/ /-/g;
    mkpath($bin);
    for my $command (qw(dirname grep find env)) {
        my ($path) = grep { -x } map { "$_/$command" } qw(/usr/bin /bin) or die "Where is $command?";
        symlink $path, "$bin/$command" or die "Cannot make a link: $!";
    }
    unlink "$temp/notes", "$temp/tree/Makefile";
    for my $command (sort keys %commands) {
        open my $fh, '>', "$bin/$command" or die "Cannot write $command: $!";
        print {$fh} "#!$sh\necho \"$command \$*\" >>$temp/notes\n$commands{$command}\n";
        close $fh or die "Cannot write $command: $!";
        chmod 0755, "$bin/$command" or die "Cannot change $command: $!";
    }
    my $output = do { local $ENV{PATH} = $bin; `$sh $temp/tree/tools/build 2>&1` };
    my $status = $? >> 8;
    open my $fh, '<', "$temp/notes" or die "Cannot read notes: $!";
    return ($status, $output, join '', <$fh>);
}

my %debian = (
    'apt-get'    => '[ "$*" != "update -q" ] || exit 100',
    'dpkg-query' => 'case $* in *zlib1g-dev | *libperl-dev) exit 1 ;; esac; echo installed',
    perl         => '[ "$*" != Makefile.PL ] || : >Makefile',
    make         => '',
);

my ($status, $output, $notes) = build('neither root nor sudo', %debian, id => 'echo 1000');
isnt($status, 0, 'without root and sudo it fails');
like($output, qr/missing.*: libperl-dev zlib1g-dev\s*$/, 'and names what is missing');
unlike($notes, qr/^apt-get/m, 'without trying');

($status, $output, $notes) = build('root', %debian, id => 'echo 0');
is($status, 0, 'as root it goes on although apt-get update fails') or diag($output);
like($notes, qr/^apt-get install .* libperl-dev zlib1g-dev\s*$/m, 'and installs what is missing');
like($notes, qr/^apt-get install .* libdeflate-dev\s*$/m, 'and what is not needed, but is of use');
like($notes, qr/^perl Makefile\.PL\n(?:.*\n)*make -j2$/m, 'then builds');

($status, $output, $notes) = build('no libdeflate', %debian, id => 'echo 0',
    'apt-get' => 'case $* in *libdeflate-dev) exit 100 ;; esac');
is($status, 0, 'which may be missing') or diag($output);

($status, $output, $notes) = build('sudo', %debian, id => 'echo 1000', sudo => 'exec "$@"');
is($status, 0, 'with sudo it goes on, too') or diag($output);
like($notes, qr/^sudo env .*apt-get install .* libperl-dev zlib1g-dev\s*$/m, 'and installs by it');

($status, $output, $notes) = build('no archive', %debian, id => 'echo 0', 'apt-get' => 'exit 100');
isnt($status, 0, 'where nothing can be installed it fails');
like($output, qr/could not be installed: libperl-dev zlib1g-dev\s*$/, 'and names what is missing');

($status, $output, $notes) = build('all installed', %debian, 'dpkg-query' => 'echo installed');
is($status, 0, 'if nothing is missing, the rest is left to Makefile.PL') or diag($output);
unlike($notes, qr/^apt-get/m, 'without asking apt-get');

($status, $output, $notes) = build('elsewhere', perl => '', make => '');
isnt($status, 0, 'it ends if Makefile.PL makes no Makefile');
done_testing();
