# Random calls of all methods, on many objects in one process: servers, clients that wait, clients with
# callbacks, children of forks, exceptions, loops inside loops. A model (xt/lib/RandomModel.pm) knows what
# must arrive: all that was taken, once and in order. Nothing may be left of it: no descriptor, no object, no
# memory.
#
#     EASYTCP_RANDOM_SECONDS=20 prove -bv xt/random-calls.t     20 seconds
#     EASYTCP_RANDOM_SECONDS=600 prove -bv xt/random-calls.t    ten minutes
#     EASYTCP_RANDOM_SEED=N prove -bv xt/random-calls.t         begins with the round that N tells
#     EASYTCP_RANDOM_TRACE=FILE prove -bv xt/random-calls.t     writes every call of the last round there
#
# A run with a seed is not repeated exactly: what happens depends on the time and on the order of hashes, too.
# What one process cannot do with both ends of a connection is left out: that a child closes or drops a client
# inside TLS (which waits for the server, and that is the parent, which waits for the child); what is queued
# above 40,000 bytes for who reads only by receive().
use strict;
use warnings;

BEGIN { $ENV{EASYTCP_TEST_DEADLINE} ||= 60 + 2 * ($ENV{EASYTCP_RANDOM_SECONDS} || 20) }

use lib 't/lib', 'xt/lib';
use Test::More;
use EasyTCPTest;
use File::Temp ();
use POSIX ();
use RandomRound;
use RandomTexts;
use Time::HiRes qw(time);

plan skip_all => 'EASYTCP_RANDOM_SECONDS is not set' if !$ENV{EASYTCP_RANDOM_SECONDS};
plan skip_all => 'No /proc/self/fd to count descriptors' if !-d '/proc/self/fd';

my $SECONDS = $ENV{EASYTCP_RANDOM_SECONDS};
my $ENOUGH  = 10;             # seconds in which everything is called
my $ACTIONS = 400;            # of a round
my $WARM_UP = 8;              # rounds after which memory stays as it is
my $GROWTH  = 8 * 1024;       # KiB that it may differ by in spite of that
my $first = defined $ENV{EASYTCP_RANDOM_SEED} ? $ENV{EASYTCP_RANDOM_SEED}
    : time % 100_000 * 10_000 + $$ % 10_000;
my $seed = $first;

sub public_methods {
    open my $fh, '<', 'lib/Net/EasyTCP.pm' or die "lib/Net/EasyTCP.pm: $!";
    return map { /^=head2 ([a-z_]+(?:, [a-z_]+)*)$/ ? split /, /, $1 : () } <$fh>;
}

sub descriptors {
    opendir my $dir, '/proc/self/fd' or die $!;
    return join ' ', sort { $a <=> $b } grep { /\d/ && $_ != fileno $dir } readdir $dir;
}

# Where the guard of EasyTCPTest ends a run that hangs: what it was at.
sub give_up {
    my @last = $RandomWorld::World ? @{ $RandomWorld::World->{model}{trace} } : ();
    fail('it ends in time');
    diag(join "\n    ", "EASYTCP_RANDOM_SEED=$seed: the last calls were", @last);
    POSIX::_exit(1);
}

sub add {
    my ($all, $some) = @_;
    $all->{$_} += $some->{$_} for keys %$some;
    return;
}

local $SIG{TERM} = \&give_up;
my $directory = File::Temp->newdir;
$RandomWorld::Texts = RandomTexts->new('lib/Net/EasyTCP.pm');
diag("EASYTCP_RANDOM_SEED=$first is where it begins");
my ($until, $rounds, $total, $messages) = (time + $SECONDS, 0, 0, 0);
my (%calls, %pairs, $open, @memory, @faults);
while (time < $until && !@faults) {
    my $model = RandomRound::run($seed, $directory, $ACTIONS);
    @faults = @{ $model->{faults} };
    add(\%calls, $model->{calls});
    add(\%pairs, $model->{pairs});
    $total += $model->{total};
    $messages += $model->{messages};
    my $now = descriptors();
    $open = $now if ++$rounds == 1;
    push @faults, "descriptors: $now, not $open" if $now ne $open && !@faults;
    push @memory, rss_kb() if $rounds >= $WARM_UP;
    $seed++ if !@faults;
}

is(scalar @faults, 0, "seeds $first to $seed: $rounds rounds, $total calls, $messages messages")
    or diag("EASYTCP_RANDOM_SEED=$seed: ", join "\n", @faults[ 0 .. ($#faults < 2 ? $#faults : 2) ]);
diag(sprintf '%-40s %9d', "$_", $calls{$_} || 0) for sort { $a cmp $b } keys %calls;
diag(sprintf '%-40s %9d', "$_", $pairs{$_} || 0) for grep { m{/(?:close|send|receive)$} } sort keys %pairs;
SKIP: {
    skip 'A fault ended it', 3 if @faults;
    skip "Less than $ENOUGH seconds", 3 if $SECONDS < $ENOUGH;
    my @methods = ('new', grep { $_ ne 'new' } public_methods());
    is(join(' ', grep { !$calls{$_} } @methods), '', 'every public method was called');
    is(join(' ', grep { !$pairs{$_} } 'fork/close', 'die/send', 'close/receive'), '', 'every pair, too');
    skip 'Too few rounds for memory to show', 1 if @memory < 10;
    my @late = sort { $a <=> $b } @memory[ -5 .. -1 ];
    cmp_ok($late[2] - $memory[0], '<', $GROWTH, "memory is flat: from $memory[0] to $late[2] KiB");
}
done_testing();
