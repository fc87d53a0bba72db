# The examples for many processes, as they stand, with the programs that they are for: HAProxy,
# Server::Starter, Parallel::Prefork and systemd. EASYTCP_CLIENTS says how many clients there are (100).
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Cwd ();
use File::Temp ();
use Net::EasyTCP;
use Time::HiRes qw(sleep time);

my $clients = $ENV{EASYTCP_CLIENTS} || 100;
my $dir     = File::Temp::tempdir(CLEANUP => 1);
my @perl    = ($^X, map { "-I$_" } grep { !ref } map { Cwd::abs_path($_) || () } @INC);

sub program {
    my $name = shift;
    return (grep { -x $_ } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin')[0];
}

# Runs a program; its output arrives by line().
sub run_program {
    my ($environment, @command) = @_;
    return spawn(sub {
        my $me = shift;
        %ENV = (%ENV, %$environment);
        open STDOUT, '>&', $me->{out} or die "STDOUT: $!";
        open STDERR, '>', "$dir/errors" or die "STDERR: $!";
        exec @command or die "exec @command: $!";
    });
}

sub connect_to { return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => shift, timeout => 20) }

sub ask {
    my ($client, $question) = @_;
    return $client && $client->send($question) ? $client->receive(20) : undef;
}

# Waits until something holds, for half a minute at most; returns the seconds that took.
sub wait_for {
    my $holds = shift;
    my $since = time;
    while (time - $since < 30) {
        return time - $since if $holds->();
        sleep 0.05;
    }
    return;
}

# ---- HAProxy ---------------------------------------------------------------------------------------

SKIP: {
    my $haproxy = program('haproxy') or skip 'no haproxy here', 1;
    my $port    = free_port();
    my @workers = map { run_program({}, @perl, 'examples/worker.pl', "$dir/$_.sock", 1) } 1, 2;
    is($workers[ $_ - 1 ]->line, "Listening at $dir/$_.sock", "worker $_") foreach 1, 2;
    my $proxy = run_program({ EASYTCP_PORT => $port, EASYTCP_RUN => $dir }, $haproxy, '-db', '-f', 'examples/haproxy.cfg');
    ok(defined wait_for(sub { ask(connect_to($port), 'x') }), 'clients come through');
    is(ask(connect_to($port), 'WHO AM I'), '127.0.0.1', 'their address is known');
    my %seen;
    my @open = map { my $client = connect_to($port); $seen{ ask($client, 'PID') || 'none' }++; $client } 1 .. 20;
    is_deeply([ sort { $a <=> $b } keys %seen ], [ sort { $a <=> $b } map { $_->pid } @workers ], 'both workers serve');
    cmp_ok($seen{ $workers[0]->pid }, '>=', 8, 'about as many each');
    undef @open;

    kill 'STOP', $workers[0]->pid;
    my $took = wait_for(sub {
        my @answers = map { my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port,
            timeout => 2, negotiationtimeout => 2); ask($client, 'PID') || 'none' } 1 .. 4;
        return !grep { $_ ne $workers[1]->pid } @answers;
    });
    ok(defined $took, 'a worker that hangs is found out') and note(sprintf 'after %.1f s', $took);
    kill 'CONT', $workers[0]->pid;
    ok(defined wait_for(sub { my $client = connect_to($port); (ask($client, 'PID') || 0) eq $workers[0]->pid }),
        'and comes back when it goes on');
    my $bystander = connect_to($port);
    kill 'KILL', $workers[0]->pid;
    ok(defined wait_for(sub { (ask(connect_to($port), 'PID') || 0) eq $workers[1]->pid }), 'one that is killed is left out');
    is(do { local $/; open my $fh, '<', "$dir/errors"; my $text = <$fh>; $text =~ /proxy from/ ? $text : '' }, '',
        'tests of health are no errors');
    kill 'TERM', $_->pid foreach $proxy, $workers[1];
    $_->wait foreach $proxy, @workers;
}

# ---- Server::Starter: a new generation while clients work --------------------------------------------

# Clients that send numbers, and connect anew when they are sent away. Reports how many attempts to connect
# failed, how many answers were wrong, and how many numbers were answered.
sub busy_clients {
    my ($me, $port, $count) = @_;
    my ($failed, $wrong, $answered, $again) = (0, 0, 0, 0);
    my $is_over = 0;
    local $SIG{TERM} = sub { $is_over = 1 };
    my @all = map { { client => connect_to($port), next => 1 } } 1 .. $count;
    $failed += grep { !$_->{client} } @all;
    $me->report('ready');
    while (!$is_over) {
        foreach my $one (@all) {
            last if $is_over;
            if (!$one->{client}) {
                $again++;
                $one->{client} = connect_to($port) or $failed++, next;
            }
            my $answer = ask($one->{client}, $one->{next});
            if (!defined $answer) { $one->{client} = undef; next }
            $wrong++ if $answer ne $one->{next};
            $one->{next}++;
            $answered++;
        }
    }
    $me->report("$failed $wrong $answered $again");
    return;
}

SKIP: {
    my $starter = program('start_server') or skip 'no Server::Starter here', 1;
    eval { require Parallel::Prefork; 1 } or skip 'no Parallel::Prefork here', 1;
    my $port   = free_port();
    my $server = run_program({}, $starter, '--port', "127.0.0.1:$port", '--', @perl, 'examples/prefork.pl', 2, 'unused', 2);
    like($server->line, qr/^Listening on port $port$/, 'under Server::Starter');
    my @children = map { spawn(sub { busy_clients($_[0], $port, int($clients / 4)) }) } 1 .. 4;
    $_->line foreach @children;
    my %before = map { (ask(connect_to($port), 'PID') || 'none') => 1 } 1 .. 10;
    kill 'HUP', $server->pid;
    like($server->line, qr/^Listening on port $port$/, 'a new generation');
    ok(defined wait_for(sub { !grep { kill 0, $_ } grep { /\d/ } keys %before }), 'the old workers end');
    my %after = map { (ask(connect_to($port), 'PID') || 'none') => 1 } 1 .. 10;
    is((grep { $before{$_} } keys %after), 0, 'others serve');

    my ($victim) = keys %after;
    kill 'KILL', $victim;
    ok(defined wait_for(sub { my %now = map { (ask(connect_to($port), 'PID') || 'none') => 1 } 1 .. 8;
        !$now{none} && keys %now == 2 && !$now{$victim} }), 'a worker that is killed is replaced');
    kill 'TERM', $_->pid foreach @children;
    my @sum = (0) x 4;
    foreach my $child (@children) {
        my @said = split / /, $child->line;
        $sum[$_] += $said[$_] foreach 0 .. 3;
        $child->wait;
    }
    note("$sum[2] answers, $sum[3] connections made anew");
    is($sum[0], 0, 'no attempt to connect failed');
    is($sum[1], 0, 'no answer was wrong');
    cmp_ok($sum[3], '>', 0, 'clients were sent away and came back');
    kill 'TERM', $server->pid;
    $server->wait;
}

# ---- systemd -----------------------------------------------------------------------------------------

SKIP: {
    my $activate = program('systemd-socket-activate') or skip 'no systemd here', 1;
    eval { require Parallel::Prefork; 1 } or skip 'no Parallel::Prefork here', 1;
    my $port   = free_port();
    my $server = run_program({}, $activate, '-E', 'PERL5LIB=' . join(':', map { Cwd::abs_path($_) || () } @INC), '-l',
        "127.0.0.1:$port", @perl, 'examples/prefork.pl', 2, 'unused', 1);
    ok(defined wait_for(sub { my $client = eval { connect_to($port) }; (ask($client, 'PID') || '') =~ /^\d+$/ }),
        'a socket of systemd');
    kill 'TERM', $server->pid;
    $server->wait;
    my $analyze = program('systemd-analyze') or skip 'no systemd-analyze here', 1;
    my $units   = join ' ', map { "examples/systemd/$_" } 'easytcp.socket', 'easytcp.service', 'easytcp-worker.service';
    my @said    = grep { /easytcp/ && !/Command .* is not executable|man page/ } `$analyze verify --man=no $units 2>&1`;
    is("@said", '', 'the units are understood');
}

done_testing();
