#!/usr/bin/perl
# Runs whatever Net::EasyTCP perl -I finds, as server or client, for tests that meet a true original
# from another process:  perl -I$lib t/lib/original.pl server|client key=value ...
#
#   hide=A,B        make these modules look as if they were not installed
#   port=N          client: where to connect; server: where to listen (default: a free port)
#   messages=false  client: send "0" and "" too; "leave": do not send QUIT; "gap": wait first
#   name=value      anything else is a constructor option; value '' with "name=" is the empty string; a
#                   list of modules, separated by commas, for those that end in "with"
#
# The server echoes every message and prints PORT n, CONNECT enc comp, DATA length, DISCONNECT. A
# message INFO is answered by "enc comp", QUIT is echoed and the client closed, DIE ends the server.
# The client prints UP enc comp or DOWN reason, sends the messages below, prints SAME or DIFF name
# for each echo, sends QUIT, prints GONE when the server has closed, then LEFT.
use strict;
use IO::Socket::INET;

my ($role, %option, @hide);

BEGIN {
    $role = shift @ARGV;
    %option = map { split /=/, $_, 2 } @ARGV;
    @hide = split /,/, delete $option{hide} || '';
    my %hidden = map { (my $file = "$_.pm") =~ s{::}{/}g; $file => 1 } @hide;
    unshift @INC, sub {
        die "$_[1] is hidden\n" if $hidden{ $_[1] };
        return;
    };
}

use Net::EasyTCP;

$| = 1;
$SIG{TERM} = sub { exit 0 };
$SIG{PIPE} = 'IGNORE';
alarm($ENV{EASYTCP_TEST_DEADLINE} || 120);
$option{$_} = [ split /,/, $option{$_} ] foreach grep { /with\z/ } keys %option;
my $extra = delete $option{messages} || '';

sub facts {
    my $object = shift;
    my @names = map {
        my $name = eval { $object->$_() };
        defined $name ? $name : '-';
    } qw(encryption compression);
    return "@names";
}

sub messages {
    my $large = join '', map { chr((7 * $_ + ($_ >> 8)) & 255) } 0 .. 102399;
    my @list = (
        [ hello  => 'hello' ],
        [ hash   => { a => 1, b => [ 2, 3 ] } ],
        [ large  => $large ],
        [ spaces => 'no space is lost in here.' ],
    );
    push @list, [ zero => '0' ], [ empty => '' ] if $extra =~ /false/;
    push @list, [ quit => 'QUIT' ] unless $extra =~ /leave/;
    return @list;
}

sub same {
    my ($x, $y) = @_;
    return 0 unless defined $x && defined $y;
    return $x eq $y unless ref $x;
    return 0 unless ref $y eq ref $x;
    return $x->{a} == $y->{a} && "@{$x->{b}}" eq "@{$y->{b}}";
}

sub run_server {
    my ($port, $server);
    foreach (1 .. 50) {
        my $probe = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 0, Listen => 1,
            Proto => 'tcp') or die "no port: $!";
        $port = $option{port} || $probe->sockport;
        close $probe;
        $server = Net::EasyTCP->new(mode => "server", %option, port => $port);
        last if $server || $@ !~ m{listening socket};
    }
    print("DOWN $@\n"), exit 1 unless $server;
    $server->setcallback(
        connect => sub { print 'CONNECT ', facts($_[0]), "\n" },
        data => sub {
            my $client = shift;
            my $data = $client->data;
            print 'DATA ', defined $data ? ref $data || length $data : 'undef', "\n";
            return unless defined $data;
            $client->send($data eq 'INFO' ? facts($client) : $data) or print "SEND $@\n";
            $client->close if $data eq 'QUIT';
            $server->stop if $data eq 'DIE';
        },
        disconnect => sub { print "DISCONNECT\n" },
    ) or die "setcallback: $@";
    print "PORT $port\n";
    $server->start;
    print "STOPPED\n";
}

sub run_client {
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', %option);
    print("DOWN $@\n"), exit 1 unless $client;
    # The first message must not reach an old server together with the end of the negotiation.
    select undef, undef, undef, 0.2 if $extra =~ /gap/;
    print 'UP ', facts($client), "\n";
    foreach my $message (messages()) {
        my ($name, $value) = @$message;
        $client->send($value) or print "SEND $@\n";
        my $back = $client->receive(20);
        print same($value, $back) ? 'SAME' : 'DIFF', " $name\n";
        last unless defined $back;
    }
    print defined $client->receive(20) ? "STAYED\n" : "GONE\n" unless $extra =~ /leave/;
    $client->close;
    print "LEFT\n";
}

$role eq 'server' ? run_server() : run_client();
