package Net::EasyTCP::Inherit;

# The listening sockets that the program which started this one has handed to it: systemd's protocol
# (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES) and that of Server::Starter (SERVER_STARTER_PORT).

use 5.008009;
use strict;
use warnings;

# Where systemd's descriptors begin.
my $FIRST = 3;

# Descriptors that were given out, by process: each serves one server.
my %taken;

# The descriptor of the first socket with this name that was not given out before; a name of 1 is every
# name. undef: there is none.
sub take {
    my ($wanted) = @_;
    foreach my $socket (_from_systemd(), _from_starter()) {
        my ($name, $fd) = @$socket;
        next if $wanted ne '1' && $name ne $wanted;
        next if $taken{"$$ $fd"}++;
        return $fd;
    }
    return undef;
}

# Each [name, descriptor]. What was meant for another process is not ours.
sub _from_systemd {
    my ($pid, $count) = @ENV{qw(LISTEN_PID LISTEN_FDS)};
    return if !defined $pid || $pid ne $$ || !defined $count || $count !~ /\A[0-9]{1,4}\z/;
    my @names = defined $ENV{LISTEN_FDNAMES} ? split /:/, $ENV{LISTEN_FDNAMES}, -1 : ();
    return map { [ defined $names[$_] ? $names[$_] : '', $FIRST + $_ ] } 0 .. $count - 1;
}

sub _from_starter {
    my $list = $ENV{SERVER_STARTER_PORT};
    return if !defined $list;
    return map { /\A(.*)=([0-9]{1,9})\z/s ? [ $1, $2 ] : () } split /;/, $list;
}

1;
