package Net::EasyTCP::Rooms;

# The rooms of a server: joinroom(), leaveroom(), rooms() and room() of Net::EasyTCP. What is known of them
# hangs on the server, in a hash of two:
#
#   in   room => { serial => client }, weak: rooms keep no client
#   of   serial => { room => 1 }

use 5.008009;
use strict;
use warnings;

use Net::EasyTCP ();
use Scalar::Util ();

our @CARP_NOT = ('Net::EasyTCP');    # errors are told of the line that called its methods

# The server calls left() for every client that goes.

# What is known of the server of a client, or of a server; a failure if the method is not for this object.
sub _of {
    my ($object, $method, $mode) = @_;
    return Net::EasyTCP::_rooms($object, $method, $mode) || Net::EasyTCP::_failed($object);
}

sub join_rooms {
    my $client = shift;
    my $known  = _of($client, 'joinroom', 'serverclient') or return undef;
    my $serial = Net::EasyTCP::serial($client);
    my @names  = map { defined $_ ? "$_" : '' } @_;
    return Net::EasyTCP::_failed($client, 'Client not connected') if !Net::EasyTCP::_is_listed($client);
    foreach my $name (@names) {
        Scalar::Util::weaken($known->{in}{$name}{$serial} = $client);
        $known->{of}{$serial}{$name} = 1;
    }
    return 1;
}

sub leave_rooms {
    my $client = shift;
    my $known  = _of($client, 'leaveroom', 'serverclient') or return undef;
    my $serial = Net::EasyTCP::serial($client);
    _leave($known, $serial, map { defined $_ ? "$_" : '' } @_);
    return 1;
}

sub rooms_of {
    my $client = shift;
    my $known  = _of($client, 'rooms', 'serverclient') or return;
    return sort keys %{ $known->{of}{ Net::EasyTCP::serial($client) } || {} };
}

sub members {
    my $server = shift;    # kept before the name is read, which may drop it
    my $name   = shift;
    my $known  = _of($server, 'room', 'server') or return;
    my $room  = $known->{in}{ defined $name ? $name : '' } or return;
    return grep { $_ && Net::EasyTCP::_is_listed($_) } values %$room;
}

sub left {
    my ($known, $serial) = @_;
    my $rooms = $known->{of}{$serial} or return;
    _leave($known, $serial, keys %$rooms);
    return;
}

sub _leave {
    my ($known, $serial, @names) = @_;
    my $rooms = $known->{of}{$serial} or return;
    foreach my $name (@names) {
        next if !delete $rooms->{$name};
        my $room = $known->{in}{$name};
        delete $room->{$serial};
        delete $known->{in}{$name} if !%$room;
    }
    delete $known->{of}{$serial} if !%$rooms;
    return;
}

1;
