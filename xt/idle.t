# An attached server that has nothing to do makes no system call: what runs is the loop of the program.
# So do a server and a client that are idle, under a loop that sleeps as long as it may.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

plan skip_all => 'no EV' if !eval { require EV; 1 };
plan skip_all => 'no strace that can run' if system('strace -o /dev/null true >/dev/null 2>&1') != 0;

my $SECONDS = 5;

# The calls that a process makes within so many seconds, by strace; those of the loop itself, which
# sleeps in epoll_wait, apart.
sub calls_of {
    my ($pid) = @_;
    my $child = open my $trace, '-|', "timeout $SECONDS strace -f -p $pid 2>&1" or die "strace: $!";
    my @calls = grep { /\w+\(/ && !/attached|detached|<unfinished|<detached/ } <$trace>;
    close $trace;
    return grep { !/^(?:\[pid\s+\d+\] )?(?:restart_syscall|epoll_p?wait2?)\(/ } @calls;
}

foreach my $case (
    [ 'a server' => sub { my ($server) = @_; return } ],
    [ 'a server and an async client' => sub {
        my ($server, $port) = @_;
        my $client = Net::EasyTCP->new(
            mode => 'client', host => '127.0.0.1', port => $port, async => 1, loop => $server, reconnect => 1
        ) or die $@;
        my $connected;
        $client->setcallback(connect => sub { $connected = 1 });
        $server->process(1) until $connected;
        return $client;
    } ],
) {
    my ($name, $make) = @$case;
    my $child = spawn(sub {
        my $me = shift;
        my ($server, $port) = new_server();
        my @kept = $make->($server, $port);
        $server->attach('EV') or die $@;
        # What is left to do is done; then the loop sleeps.
        my $timer = EV::timer(0.3, 0, sub { $me->report('idle') });
        my $end = EV::io($me->{in}, EV::READ(), sub { EV::break() });
        EV::run();
    });
    is($child->line, 'idle', "$name is idle");
    is_deeply([ calls_of($child->pid) ], [], "$name makes no system call in $SECONDS seconds");
    $child->tell('end');
    $child->wait;
}

done_testing();
