#!/usr/bin/perl
# A daemon: goes into the background, writes its process number and a log, and heeds signals.
#
#   perl examples/daemon.pl PIDFILE LOGFILE [port]
#
#   kill -TERM   ends it, when the callback that runs is over
#   kill -HUP    opens the log anew, after it was renamed
#   kill -USR1   writes to the log who is connected
#
# To change: what it does for its clients, in on_data.

use strict;
use warnings;

use Net::EasyTCP;
use POSIX ();

my ($pid_file, $log_file, $port) = @ARGV;
defined $log_file or die "Usage: $0 PIDFILE LOGFILE [port]\n";

# The server comes first: errors are shown to whoever has started the daemon.
my $server = Net::EasyTCP->new(
    mode       => 'server',
    port       => defined $port ? $port : 2345,
    maxmessage => 1_000_000,
) or die "Cannot create the server: $@\n";
$server->setcallback(
    data  => \&on_data,
    error => sub { my (undef, $text, $kind, $from) = @_; note("$from: $kind: $text") },
) or die "Cannot set callbacks: $@\n";

open_log();
open my $pid_fh, '>', $pid_file or die "Cannot write $pid_file: $!\n";
$| = 1;
print 'Listening on port ', $server->port, "\n";
into_background();
print {$pid_fh} "$$\n";
close $pid_fh or die "Cannot write $pid_file: $!\n";

# Handlers only note what is to be done: they may come in the middle of anything.
my %asked;
$SIG{$_} = sub { $asked{ $_[0] } = 1 } for qw(TERM INT HUP USR1);
$SIG{PIPE} = 'IGNORE';

note("started as $$");
until ($asked{TERM} || $asked{INT}) {
    # A signal ends the wait.
    $server->do_one_loop(1) or note("loop: $@");
    if (delete $asked{HUP}) { open_log(); note('opened the log anew') }
    if (delete $asked{USR1}) { note(join ' ', 'connected:', map { $_->remoteip } $server->clientlist) }
}
note('ended');
unlink $pid_file;

sub on_data {
    my $client  = shift;
    my $message = $client->data;
    eval { $client->send($message) } or note("cannot answer: $@");
}

sub open_log {
    close STDERR;
    open STDERR, '>>', $log_file or die "Cannot write $log_file: $!\n";
    my $old = select STDERR;
    $| = 1;
    select $old;
}

sub note {
    my $text = shift;
    print STDERR POSIX::strftime('%Y-%m-%d %H:%M:%S', localtime), " $text\n";
}

# Twice, so that it is no leader of a session and never gets a terminal.
sub into_background {
    for my $time (1, 2) {
        my $pid = fork;
        defined $pid or die "Cannot fork: $!\n";
        POSIX::_exit(0) if $pid;
        POSIX::setsid() if $time == 1;
    }
    chdir '/' or die "Cannot change to /: $!\n";
    open STDIN,  '<', '/dev/null' or die "Cannot read /dev/null: $!\n";
    open STDOUT, '>', '/dev/null' or die "Cannot write /dev/null: $!\n";
}
