# Load and faults together: clients of mixed kinds against one server. Every message that the server has
# acknowledged is accounted for by its number: none lost, none reordered; memory stays flat.
#
#     prove -b xt/soak.t                                            200 clients for 12 seconds
#     SOAK_CLIENTS=2000 SOAK_SECONDS=300 prove -bv xt/soak.t        the long one
use strict;
use warnings;

my ($seconds, $wanted);

BEGIN {
    $seconds = $ENV{SOAK_SECONDS} || 12;
    $wanted  = $ENV{SOAK_CLIENTS} || 200;
    $ENV{EASYTCP_TEST_DEADLINE} ||= 3 * $seconds + 240;
}

use lib 't/lib';
use Test::More;
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;
use POSIX ();
use Time::HiRes ();

my $WORKERS = 6;
my @KINDS = qw(new old new killer new reconnect old slow new garbage silent killer);
my @OLD_VERSIONS = qw(0.09 0.14 0.19 0.23 0.26);
my %PLAIN = (donotencrypt => 1, donotcompress => 1);
my @OPTIONS = ({%PLAIN}, { donotencrypt => 1 }, { donotcompress => 1 }, {});
my $FLOOD = 40;

# Each client needs a descriptor in the server; some are left for the rest.
my $descriptors = POSIX::sysconf(POSIX::_SC_OPEN_MAX()) || 256;
my $clients = $wanted < $descriptors - 56 ? $wanted : $descriptors - 56;
diag "only $clients clients: the system allows no more descriptors" if $clients < $wanted;

# ---- the server ---------------------------------------------------------------------------------

my %count = map { $_ => 0 } qw(messages reordered connects disconnects);
my %last;

# A message is "ID NUMBER TEXT" or a structure of the same; it is acknowledged by sending it back.
sub take_message {
    my $client = shift;
    my $data = $client->data;
    return unless defined $data;
    if (!ref $data && $data =~ /^(last|forget|flood|stats)(?: (\S+))?$/) {
        return $client->send($last{$2} || 0) if $1 eq 'last';
        return delete $last{$2} if $1 eq 'forget';
        return $client->send(join ' ', map { "$_=$count{$_}" } sort keys %count) if $1 eq 'stats';
        $client->send("$2 $_ " . 'f' x 20_000) foreach 1 .. $FLOOD;
        return;
    }
    my ($id, $number) = ref $data ? @$data : split / /, $data, 3;
    $count{messages}++;
    $count{reordered}++ if $number != ($last{$id} || 0) + 1;
    $last{$id} = $number;
    return $client->send($data);
}

my $server = spawn_server(maxhalfopen => 0, callbacks => {
    connect    => sub { $count{connects}++ },
    disconnect => sub { $count{disconnects}++ },
    data       => \&take_message,
});
my $port = $server->{port};

# ---- the clients --------------------------------------------------------------------------------

my ($me, %total);
my $control;    # a connection for questions about the others
my $text = join '', map { chr 32 + $_ % 90 } 1 .. 3000;

sub fault {
    my ($client, $what) = @_;
    $total{lost}++;
    $me->report("FAULT client $client->{id} ($client->{kind}): $what");
    return;
}

sub connect_new {
    my ($client, $options) = @_;
    $client->{conn} = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, %$options)
        or return fault($client, "cannot connect: $@");
    $total{connections}++;
    return $client->{conn};
}

sub connect_old {
    my ($client, $version) = @_;
    $client->{conn} = OldPeer->client(version => $version, port => $port, deadline => 200)
        or return fault($client, 'cannot connect: ' . OldPeer->error);
    $total{connections}++;
    return $client->{conn};
}

# A new identity: its numbers start at 1. The server forgets the old one, so that its memory shows what
# connections leave behind and not what this test notes.
sub renew {
    my $client = shift;
    $control->send("forget $client->{id}") if defined $client->{id};
    $client->{id} = "$client->{base}." . ++$client->{epoch};
    $client->{sent} = $client->{acked} = 0;
    delete $client->{conn};
    return $client;
}

sub next_message {
    my $client = shift;
    my @message = ($client->{id}, ++$client->{sent}, substr $text, 0, int rand 1 + length $text);
    return $client->{sent} % 3 ? join ' ', @message : \@message;
}

sub image { return ref $_[0] ? join ' ', @{ $_[0] } : $_[0] }

# Sends some messages without waiting, then takes their acknowledgements.
sub talk {
    my ($client, $some) = @_;
    my @sent = map { next_message($client) } 1 .. $some;
    foreach my $message (@sent) {
        eval { $client->{conn}->send($message) } or return fault($client, "cannot send: $@");
    }
    foreach my $message (@sent) {
        my $back = eval { $client->{conn}->receive };
        return fault($client, "message $client->{acked} + 1 is lost: $@") unless defined $back;
        return fault($client, 'another message comes back') if image($back) ne image($message);
        $client->{acked}++;
        $total{acknowledged}++;
    }
    return 1;
}

my %step = (
    new => sub {
        my $client = shift;
        $client->{conn} || connect_new($client, $OPTIONS[ $client->{base} % @OPTIONS ]) or return;
        return talk($client, 1 + int rand 8);
    },
    old => sub {
        my $client = shift;
        $client->{conn} || connect_old($client, $OLD_VERSIONS[ $client->{base} % @OLD_VERSIONS ]) or return;
        return talk($client, 1 + int rand 3);
    },
    reconnect => sub {
        my $client = shift;
        connect_new($client, $OPTIONS[ $client->{epoch} % @OPTIONS ]) or return;
        talk($client, 2) or return;
        $client->{conn}->close;
        $total{reconnects}++;
        return 1;
    },
    # Asks for a lot, reads it much later.
    slow => sub {
        my $client = shift;
        $client->{conn} || connect_new($client, \%PLAIN) or return;
        if (!$client->{waiting}) {
            $client->{waiting} = 2;
            return $client->{conn}->send("flood $client->{id}");
        }
        return 1 if --$client->{waiting};
        foreach my $n (1 .. $FLOOD) {
            my $got = $client->{conn}->receive;
            return fault($client, "flood message $n is lost or out of order")
                if !defined $got || $got !~ /^\Q$client->{id}\E $n f+\z/ || length $got < 20_000;
            $total{flooded}++;
        }
        return 1;
    },
    # Ends by a reset within a message, with acknowledgements unread.
    killer => sub {
        my $client = shift;
        connect_old($client, '0.19') or return;
        talk($client, 1 + int rand 4) or return;
        my $old = { %$client };
        eval { $client->{conn}->send(next_message($client)) foreach 1 .. int rand 3 };
        eval { $client->{conn}->raw_send(substr packet(5, 'x' x 5000), 0, 1 + int rand 5000) };
        $client->{conn}->reset_connection;
        $total{kills}++;
        return check_known($old, $client->{sent}) && renew($client);
    },
    garbage => sub {
        my $client = shift;
        my $sock = raw_connect($port);
        local $SIG{PIPE} = 'IGNORE';
        syswrite $sock, join '', map { chr int rand 256 } 1 .. 1 + int rand 400;
        $total{garbage}++;
        return 1;
    },
    silent => sub {
        my $client = shift;
        $client->{conn} = raw_connect($port);
        syswrite $client->{conn}, "\x01\x02";
        return 1;
    },
);

# Whether the server knows all that it has acknowledged to this client, and no more than was sent.
sub check_known {
    my ($client, $sent) = @_;
    $control->send("last $client->{id}");
    my $known = $control->receive;
    return 1 if defined $known && $known >= $client->{acked} && $known <= $sent;
    $known = 'nothing' unless defined $known;
    return fault($client, "the server knows $known, has acknowledged $client->{acked} of $sent");
}

sub work {
    my ($mine, $until) = @_;
    srand $mine->[0];
    $control = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, %PLAIN) or die $@;
    my @mine = map { renew({ base => $_, kind => $KINDS[ $_ % @KINDS ], epoch => 0 }) } @$mine;
    while (time < $until) {
        foreach my $client (@mine) {
            eval { $step{ $client->{kind} }->($client); 1 } or fault($client, $@);
        }
        $total{rounds}++;
        last if $total{lost};
    }
    foreach my $client (@mine) {
        check_known($client, $client->{acked}) if $client->{sent} && !$total{lost};
        $client->{conn}->close if $client->{conn};
    }
    return;
}

# ---- running ------------------------------------------------------------------------------------

my $until = time + $seconds;
my @workers = map {
    my $first = $_;
    spawn(sub {
        $me = shift;
        %total = map { $_ => 0 } qw(acknowledged connections flooded kills reconnects garbage rounds lost);
        work([ grep { int($_ * $WORKERS / $clients) == $first } 0 .. $clients - 1 ], $until);
        $me->report(join ' ', map { "$_=$total{$_}" } sort keys %total);
    });
} 0 .. $WORKERS - 1;

# Once everybody is there, memory is what it takes; it must not grow from then on.
Time::HiRes::sleep($seconds / 2);
my $early = rss_kb($server->pid);
my ($reports, %sum, @faults) = (0);
foreach my $worker (@workers) {
    foreach my $line ($worker->rest) {
        if ($line =~ /^(?:FAULT|DIED)/) {
            push @faults, $line;
            next;
        }
        $reports++;
        $sum{$1} += $2 while $line =~ /(\w+)=(\d+)/g;
    }
    $worker->wait;
}
my $late = rss_kb($server->pid);
my $last = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port)
    or BAIL_OUT("no server: $@");
$last->send('stats');
my %served = $last->receive =~ /(\w+)=(\d+)/g;

note "clients: $clients, seconds: $seconds";
note "workers: @{[ map { qq($_ $sum{$_}) } sort keys %sum ]}";
note "server: @{[ map { qq($_ $served{$_}) } sort keys %served ]}";
is($reports, $WORKERS, 'every worker came to its end');
is_deeply([ @faults > 20 ? @faults[ 0 .. 19 ] : @faults ], [], 'no client was let down');
is($sum{lost}, 0, 'no acknowledged message is lost');
is($served{reordered}, 0, 'none was reordered');
cmp_ok($served{messages}, '>=', $sum{acknowledged}, "$sum{acknowledged} messages were acknowledged");
cmp_ok($sum{kills}, '>', 0, "$sum{kills} clients were killed within a message");
cmp_ok($sum{reconnects}, '>', 0, "$sum{reconnects} reconnected");
SKIP: {
    skip 'no /proc to see memory with', 1 unless defined $early;
    note "memory: $early KiB in the middle, $late KiB at the end";
    cmp_ok($late, '<', 1.2 * $early + 10_000, 'memory is flat');
}
$server->kill('TERM');
done_testing();
