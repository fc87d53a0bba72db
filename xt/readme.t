# The server and the client of README.md, as they stand there, talk to each other.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::INET;
use Test::More tests => 3;
use Time::HiRes qw(sleep);

open my $fh, '<', 'README.md' or die "Cannot read README.md: $!";
my @programs = do { local $/ = undef; <$fh> } =~ /^```perl\n(.*?)^```/msg;
is(scalar @programs, 2, 'there are two programs');

my $port = do {
    my $probe = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "Cannot listen: $!";
    $probe->sockport;
};
my @perl = ($^X, '-w', '-Mstrict', map { "-I$_" } @INC);
my $dir  = File::Temp::tempdir(CLEANUP => 1);
for my $number (0, 1) {
    $programs[$number] =~ s/\b2345\b/$port/g;
    open my $file, '>', "$dir/$number.pl" or die "Cannot write: $!";
    print {$file} $programs[$number];
    close $file or die "Cannot write: $!";
}

my $server = fork;
defined $server or die "Cannot fork: $!";
exec @perl, "$dir/0.pl" or die "Cannot run perl: $!" if !$server;

my $up;
for (1 .. 100) {
    $up = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) and last;
    sleep 0.1;
}
ok($up, 'the server listens') or diag($!);
my $command = join ' ', map { qq{"$_"} } @perl, "$dir/1.pl";
is(scalar `$command`, "1 2 3\n", 'the client gets its numbers back');
kill TERM => $server;
waitpid $server, 0;
