#!/usr/bin/perl
# A server that replaces itself by a new release while its clients work, without another module or program.
#
#   perl examples/rolling-restart.pl [port [seconds]]
#   kill -HUP  the process: the program file is started anew, with the same socket
#   kill -TERM the process: it ends
#
# In both cases clients leave one after the other within so many seconds, 10 unless given, and none before it
# was answered; they connect again, to the new process. No attempt to connect fails meanwhile, as the socket
# stays open. If the new release does not start, the old one goes on.
#
# To change: what it does for its clients, in on_data.

use strict;
use warnings;

use Cwd qw(abs_path);
use Net::EasyTCP;
use POSIX ();

my ($port, $seconds) = @ARGV;
$port    = 2345 if !defined $port;
$seconds = 10   if !defined $seconds;
my $program = abs_path($0);
$| = 1;
$SIG{PIPE} = $SIG{CHLD} = 'IGNORE';

# From the process that this one replaces, or new.
my $socket = inherited() || fresh();
my $server = Net::EasyTCP->new(mode => 'server', handle => $socket, whenfull => 'close')
    or die "Cannot create the server: $@\n";
$server->setcallback(data => \&on_data) or die "Cannot set callbacks: $@\n";
print "Listening on port ", $server->port, " as $$\n";

# The new process is there: the old one may go.
kill TERM => delete $ENV{REPLACES} if $ENV{REPLACES};

$SIG{TERM} = sub { $server->finish($seconds) };
$SIG{HUP}  = \&start_successor;
$server->start or die "The server failed: $@\n";
print "Ended as $$\n";

sub on_data {
    my $client  = shift;
    my $message = $client->data;
    $message = $$ if !ref $message && $message eq 'PID';
    eval { $client->send($message) } or warn "Cannot answer: $@\n";
    return;
}

sub fresh {
    require IO::Socket::INET;
    my $new = IO::Socket::INET->new(LocalPort => $port eq '00' ? 0 : $port, Listen => 1024, ReuseAddr => 1)
        or die "Cannot listen: $@\n";
    return $new;
}

sub inherited {
    my $fd = delete $ENV{LISTENS_AT};
    return if !defined $fd;
    require IO::Socket::INET;
    return IO::Socket::INET->new_from_fd($fd, '+<');
}

sub start_successor {
    my $pid = fork;
    if (!defined $pid) { warn "Cannot fork: $!\n"; return }
    return if $pid;
    $SIG{CHLD} = 'DEFAULT';    # what is ignored stays ignored, and perl warns of it
    # A descriptor that perl does not know is not closed by exec.
    $ENV{LISTENS_AT} = POSIX::dup(fileno $socket);
    $ENV{REPLACES}   = getppid;
    exec $^X, (map { "-I$_" } @INC), $program, $port, $seconds or warn "Cannot start $program: $!\n";
    POSIX::_exit(1);
}
