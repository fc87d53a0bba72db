package FakeRedis;

# As much of Redis.pm, and of Redis, as Net::EasyTCP::Cluster uses: one stream and its counter, in this
# process, with sockets that become readable when an answer is there.

use strict;
use warnings;
use Scalar::Util ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

our (@Entries, $Number, $Last, @Links, $Down, $Error, $Mute, $Made, $Reads, @Gone);
reset_all();

sub reset_all {
    (@Entries, @Gone, @Links) = ();
    ($Number, $Last, $Made, $Reads) = (undef, 1000, 0, 0);
    ($Down, $Error, $Mute) = ();
    return;
}

sub new {
    my ($class, %options) = @_;
    die "Could not connect to Redis server at $options{server}: Connection refused at Redis.pm line 1.\n"
        if $Down;
    socketpair(my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
    my $self = bless { sock => $near, far => $far, asked => [], answers => [], options => \%options }, $class;
    push @Links, $self;
    Scalar::Util::weaken($Links[-1]);
    $Made++;
    return $self;
}

# ---- the commands --------------------------------------------------------------------------------

sub eval {
    my ($self, $script, $keys, $stream, $counter, $maxlen, @messages) = @_;
    my $code = ref $messages[-1] ? pop @messages : undef;
    return $self->_later($code, [ undef, $Error ]) if $Error;
    while (my ($header, $room, $data, $older) = splice @messages, 0, 4) {
        add(n => ++$Number, h => $header, r => $room, d => $data, o => $older);
    }
    return $self->_later($code, [$Number]);
}

sub get {
    my ($self, $counter, $code) = @_;
    return $self->_later($code, [$Number]);
}

sub xrevrange {
    my ($self, @arguments) = @_;
    return $self->_later($arguments[-1], [ @Entries ? [ $Entries[-1] ] : [] ]);
}

sub xread {
    my ($self, @arguments) = @_;
    my $code = pop @arguments;
    $Reads++;
    $self->_write;
    push @{ $self->{asked} }, $code;
    @$self{qw(after count)} = @arguments[ 6, 1 ];
    $self->_feed;
    return 1;
}

sub wait_one_response {
    my ($self) = @_;
    my $code = shift @{ $self->{asked} } or return;
    sysread $self->{sock}, my $byte, 1 or die "Error while reading from Redis server: at Redis.pm line 1.\n";
    $code->(@{ shift @{ $self->{answers} } || die "unknown answer type: ! at Redis.pm line 2.\n" });
    return;
}

sub _later {
    my ($self, $code, $answer) = @_;
    $self->_write;
    push @{ $self->{asked} }, $code;
    $self->_answer(@$answer) if !$Mute;
    return 1;
}

# A request goes out; whoever writes to a connection that was cut gets a signal.
sub _write {
    my ($self) = @_;
    return if syswrite $self->{sock}, 'x';
    die "Could not write to Redis server: $! at Redis.pm line 4.\n";
}

sub _answer {
    my ($self, @answer) = @_;
    push @{ $self->{answers} }, \@answer;
    syswrite $self->{far}, 'x' if $self->{far};
    return;
}

# What a reader waits for.
sub _feed {
    my ($self) = @_;
    return if !defined $self->{after};
    my @found = grep { _order($_->[0]) > _order($self->{after}) } @Entries or return;
    $#found = $self->{count} - 1 if @found > $self->{count};
    delete $self->{after};
    my @copies = map { [ $_->[0], ref $_->[1] ? [ @{ $_->[1] } ] : $_->[1] ] } @found;
    $self->_answer([ [ 'stream', \@copies ] ]);
    return;
}

sub _order { my ($ms, $seq) = split /-/, $_[0]; return $ms * 1000 + $seq }

# ---- what happens to Redis -------------------------------------------------------------------------

sub links { return grep { $_ } @Links }

sub add { return add_fields([@_]) }

sub add_fields {
    my ($fields, $id) = @_;
    push @Entries, [ defined $id ? $id : ++$Last . '-0', $fields ];
    $_->_feed foreach links();
    return;
}

# Entries come that nobody reads before some of them are gone.
sub hold_back { $_->{held} = delete $_->{after} foreach links(); return }
sub let_go { foreach my $link (links()) { $link->{after} = delete $link->{held}; $link->_feed } return }

# All readers have waited for long enough.
sub nothing {
    foreach my $link (grep { defined $_->{after} } links()) {
        delete $link->{after};
        $link->_answer(undef);
    }
    return;
}

# Something else is answered.
sub garbage {
    my ($answer) = @_;
    foreach my $link (grep { defined $_->{after} } links()) {
        delete $link->{after};
        $link->_answer($answer);
    }
    return;
}

sub cut { close delete $_->{far} foreach grep { $_->{far} } links(); return }

1;
