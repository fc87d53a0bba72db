# The examples for many processes, as they stand, with the programs that they are for: HAProxy,
# Server::Starter, Parallel::Prefork and systemd. EASYTCP_CLIENTS says how many clients there are (100).
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Cwd ();
use File::Temp ();
use IO::Socket::UNIX;
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

sub connect_to {
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => shift, timeout => 20);
}

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

# What HAProxy thinks of a worker: UP, DOWN, or what is between them.
sub state_of {
    my $name   = shift;
    my $socket = IO::Socket::UNIX->new(Peer => "$dir/stats") or return '';
    print {$socket} "show stat\n";
    my ($line) = grep { /^easytcp,$name,/ } <$socket>;
    return defined $line ? (split /,/, $line)[17] : '';
}

# ---- HAProxy ---------------------------------------------------------------------------------------

SKIP: {
    my $haproxy = program('haproxy') or skip 'no haproxy here', 1;
    my $port    = free_port();
    my @workers = map { run_program({}, @perl, 'examples/worker.pl', "$dir/$_.sock", 1) } 1, 2;
    is($workers[ $_ - 1 ]->line, "Listening at $dir/$_.sock", "worker $_") foreach 1, 2;
    # What is added tells the test how HAProxy sees the workers.
    open my $more, '>', "$dir/more.cfg" or die "more.cfg: $!";
    print {$more} "global\n    stats socket $dir/stats mode 600\n";
    close $more or die "more.cfg: $!";
    my $proxy = run_program({ EASYTCP_PORT => $port, EASYTCP_RUN => $dir }, $haproxy, '-db', '-f',
        'examples/haproxy.cfg',
        '-f', "$dir/more.cfg");
    ok(defined wait_for(sub { ask(connect_to($port), 'x') }), 'clients come through');
    is(ask(connect_to($port), 'WHO AM I'), '127.0.0.1', 'their address is known');
    my %seen;
    my @open = map {
        my $client = connect_to($port);
        $seen{ ask($client, 'PID') || 'none' }++;
        $client;
    } 1 .. 20;
    is_deeply([ sort { $a <=> $b } keys %seen ], [ sort { $a <=> $b } map { $_->pid } @workers ],
        'both workers serve');
    cmp_ok($seen{ $workers[0]->pid }, '>=', 8, 'about as many each');
    undef @open;

    # The least of three times: the machine may be busy.
    my @took;
    foreach (1 .. 3) {
        kill 'STOP', $workers[0]->pid;
        push @took, wait_for(sub { state_of('w1') =~ /^DOWN/ });
        is(ask(connect_to($port), 'PID'), $workers[1]->pid, 'a worker that hangs gets no client')
            if @took == 1;
        kill 'CONT', $workers[0]->pid;
        wait_for(sub { state_of('w1') eq 'UP' });
    }
    my ($least) = sort { $a <=> $b } grep { defined } @took;
    cmp_ok($least, '<', 2, 'and is found out within two seconds') and note(sprintf 'after %.1f s', $least);
    ok(defined wait_for(sub {
        my $client = connect_to($port);
        (ask($client, 'PID') || 0) eq $workers[0]->pid;
    }),
        'and comes back when it goes on');
    my $bystander = connect_to($port);
    kill 'KILL', $workers[0]->pid;
    ok(defined wait_for(sub { (ask(connect_to($port), 'PID') || 0) eq $workers[1]->pid }),
        'one that is killed is left out');
    is(do {
        local $/;
        open my $fh, '<', "$dir/errors";
        my $text = <$fh>;
        $text =~ /proxy from/ ? $text : '';
    }, '',
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
    my $server = run_program({}, $starter, '--port', "127.0.0.1:$port", '--', @perl, 'examples/prefork.pl', 2,
        'unused', 2);
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

# ---- clients that connect again by themselves ---------------------------------------------------------

# A server like examples/prefork.pl that notes each message in a file before it answers: what was answered
# must be there, whatever became of the worker.
my $noting = <<'END';
use strict;
use warnings;
use Net::EasyTCP;
use Parallel::Prefork;

$| = 1;
open my $notes, '>>', shift or die $!;
my $server = Net::EasyTCP->new(mode => 'server', inherit => 1, whenfull => 'close') or die $@;
$server->setcallback(data => sub {
    my $client  = shift;
    my $message = $client->data;
    syswrite $notes, "$message\n" if $message =~ /^\d/;
    eval { $client->send($message eq 'PID' ? $$ : $message) };
}) or die $@;
print "Listening\n";
my $manager = Parallel::Prefork->new({ max_workers => 2, trap_signals => { TERM => 'TERM', HUP => 'TERM' } });
while ($manager->signal_received ne 'TERM') {
    $manager->start(sub { local $SIG{TERM} = sub { $server->finish(2) }; $server->start or die $@ });
}
$manager->wait_all_children;
END

# Clients that send numbers, each when the one before was answered, and do nothing about connections that end.
# Notes how many of each client's numbers were answered; reports how many attempts to connect failed, how many
# answers were wrong, and how often clients came back.
sub steady_clients {
    my ($me, $port, $first, $count) = @_;
    my ($failed, $wrong, $again, $here) = (0, 0, 0, 0);
    my $is_over = 0;
    local $SIG{TERM} = sub { $is_over = 1 };
    my @all;
    foreach my $id ($first .. $first + $count - 1) {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
            reconnect => [ 0.05, 0.5 ], @all ? (loop => $all[0]{client}) : ()) or die $@;
        my $one = { id => $id, client => $client, next => 1, waits => 1, times => 0 };
        $client->setcallback(
            connect => sub {
                $one->{times}++ ? $again++ : $here++;
                $client->send("$id $one->{next}") if $one->{waits};
            },
            data  => sub {
                $wrong++ if $client->data ne "$id $one->{next}";
                $one->{next}++;
                $one->{waits} = 0;
            },
            error => sub { $failed++ },
        ) or die $@;
        push @all, $one;
    }
    my $due = 0;
    until ($is_over) {
        $all[0]{client}->process(0.05) or die $@;
        $here = $me->report('ready') && -1 if $here == $count;
        next if time < $due;
        $due = time + 0.2;
        foreach my $one (grep { !$_->{waits} } @all) {
            $one->{waits} = 1;
            # One that is not connected now sends it when it is.
            $one->{client}->send("$one->{id} $one->{next}") if $one->{client}->socket;
        }
    }
    open my $answered, '>', "$dir/answered.$first" or die $!;
    print {$answered} map { "$_->{id} " . ($_->{next} - 1) . "\n" } @all;
    close $answered or die $!;
    $me->report("$failed $wrong $again");
    return;
}

# Messages that were answered and are not in the notes.
sub lost {
    my (%noted, $lost, $sum);
    open my $notes, '<', "$dir/notes" or die $!;
    while (defined(my $line = <$notes>)) { chomp $line; $noted{$line} = 1 }
    $lost = $sum = 0;
    foreach my $file (glob "$dir/answered.*") {
        open my $answered, '<', $file or die $!;
        while (defined(my $line = <$answered>)) {
            my ($id, $last) = split ' ', $line;
            $sum += $last;
            $lost += grep { !$noted{"$id $_"} } 1 .. $last;
        }
    }
    note("$sum messages were answered");
    return $sum ? $lost : 'nothing was answered';
}

SKIP: {
    my $starter = program('start_server') or skip 'no Server::Starter here', 1;
    eval { require Parallel::Prefork; 1 } or skip 'no Parallel::Prefork here', 1;
    open my $program, '>', "$dir/noting.pl" or die $!;
    print {$program} $noting;
    close $program or die $!;
    my $port   = free_port();
    my $server = run_program({}, $starter, '--port', "127.0.0.1:$port", '--', @perl, "$dir/noting.pl",
        "$dir/notes");
    is($server->line, 'Listening', 'a server that notes what it answers');
    my $share    = int($clients / 4);
    my @children = map {
        my $first = 1 + $_ * $share;
        spawn(sub { steady_clients($_[0], $port, $first, $share) });
    } 0 .. 3;
    is($_->line, 'ready', "$share clients that connect again") foreach @children;

    my ($tried, $failed) = (0, 0);
    my %before = map { (ask(connect_to($port), 'PID') || 'none') => 1 } 1 .. 10;
    kill 'HUP', $server->pid;
    ok(defined wait_for(sub {
        $tried++;
        $failed++ if !defined ask(connect_to($port), 'new');
        !grep { kill 0, $_ } keys %before;
    }),
        'a new generation, the old one ends');
    is($failed, 0, "none of $tried new connections failed meanwhile");
    my $pid;
    ok(defined wait_for(sub {
        $pid = ask(connect_to($port), 'PID');
        $pid && !$before{$pid};
    }), 'new workers serve');

    # One that is stopped keeps its clients waiting, and nobody else.
    kill 'STOP', $pid;
    is((grep { (ask(connect_to($port), 'PID') || $pid) eq $pid } 1 .. 20), 0,
        'a worker that is stopped gets no new client');
    kill 'CONT', $pid;
    my @sum = (0) x 3;
    foreach my $child (@children[ 0, 1 ]) { add_up(\@sum, $child) }
    is($sum[0], 0, 'no client failed to connect again');
    cmp_ok($sum[2], '>=', 2 * $share, 'though each was sent away');
    kill 'KILL', $pid;
    ok(defined wait_for(sub { my %now = map { (ask(connect_to($port), 'PID') || 'none') => 1 } 1 .. 8;
        !$now{none} && keys %now == 2 && !$now{$pid} }), 'a worker that is killed is replaced');
    add_up(\@sum, $_) foreach @children[ 2, 3 ];
    is($sum[1], 0, 'no answer was wrong');
    is(lost(), 0, 'nothing that was answered is lost');
    kill 'TERM', $server->pid;
    $server->wait;
}

sub add_up {
    my ($sum, $child) = @_;
    kill 'TERM', $child->pid;
    my @said = split / /, $child->line;
    $sum->[$_] += $said[$_] foreach 0 .. $#$sum;
    $child->wait;
    return;
}

# ---- systemd -----------------------------------------------------------------------------------------

SKIP: {
    my $activate = program('systemd-socket-activate') or skip 'no systemd here', 1;
    eval { require Parallel::Prefork; 1 } or skip 'no Parallel::Prefork here', 1;
    my $port   = free_port();
    my $server = run_program({}, $activate, '-E', 'PERL5LIB='
        . join(':', map { Cwd::abs_path($_) || () } @INC), '-l',
        "127.0.0.1:$port", @perl, 'examples/prefork.pl', 2, 'unused', 1);
    ok(defined wait_for(sub {
        my $client = eval { connect_to($port) };
        (ask($client, 'PID') || '') =~ /^\d+$/;
    }),
        'a socket of systemd');
    kill 'TERM', $server->pid;
    $server->wait;
    my $analyze = program('systemd-analyze') or skip 'no systemd-analyze here', 1;
    my $units   = join ' ', map { "examples/systemd/$_" } 'easytcp.socket', 'easytcp.service',
        'easytcp-worker.service';
    my @said    = grep { /easytcp/
        && !/Command .* is not executable|man page/ } `$analyze verify --man=no $units 2>&1`;
    is("@said", '', 'the units are understood');
}

done_testing();
