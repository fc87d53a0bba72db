# tools/easytcp.lua, run by tshark over captures made from what the tests have recorded of real releases
# and over a connection of our own.

use strict;
use warnings;

use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use Test::More;

use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

plan skip_all => 'tshark is not here' if `tshark --version 2>&1` !~ /\ATShark|\nTShark/;

my $dir = tempdir(CLEANUP => 1);

# ---- captures ----------------------------------------------------------------------------------

# A pcap file of IPv4 packets, with one conversation for each list of [ from server?, bytes ]: a TCP
# segment each.
sub write_capture {
    my ($file, @conversations) = @_;
    open my $out, '>:raw', $file or die "Cannot write $file: $!";
    print {$out} pack 'NnnNNNN', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101;
    my ($time, $port) = (0, 40000);
    for my $segments (@conversations) {
        my @side = ({ port => 7345, at => 1 }, { port => $port++, at => 1 });    # server, client
        # The handshake of TCP, so that nobody takes the stream for one that began earlier.
        my @opening = ([ 1, 0x02, '' ], [ 0, 0x12, '' ], [ 1, 0x10, '' ]);
        for (@opening, map { [ $_->[0] ? 0 : 1, 0x18, $_->[1] ] } @$segments) {
            my ($who, $flags, $data) = @$_;
            my ($from, $to) = @side[ $who, 1 - $who ];
            my $frame = pack('CCnnnCCnNN', 0x45, 0, 40 + length $data, 0, 0, 64, 6, 0, (0x7f000001) x 2)
                . pack('nnNNnnnn', $from->{port}, $to->{port}, $from->{at}, $flags & 0x10 ? $to->{at} : 0,
                0x5000 | $flags, 65535, 0, 0)
                . $data;
            print {$out} pack('NNNN', 1, $time++, length $frame, length $frame), $frame;
            $from->{at} += length($data) + ($flags & 2 ? 1 : 0);
        }
    }
    close $out or die "Cannot write $file: $!";
    return;
}

sub to_wire {
    my ($flags, $payload) = @_;
    my $length = pack 'N', length $payload;
    $length =~ s/\A\0+//;
    return pack('CC', $flags, length $length) . $length . $payload;
}

# What tshark sees: for each conversation a list of rows, one for each segment: { column => [ values ] }.
sub look {
    my ($file, @how) = @_;
    my @columns = qw(tcp.stream easytcp.flags easytcp.tag easytcp.welcome _ws.malformed easytcp.lost);
    open my $seen, '-|', 'tshark', '-X', 'lua_script:tools/easytcp.lua', '-r', $file, '-Y', 'tcp.len > 0',
        @how,
        '-T', 'fields', '-E', 'aggregator=|', map { ('-e', $_) } @columns
        or die "tshark: $!";
    my @conversations;
    while (my $line = <$seen>) {
        chomp $line;
        my %row;
        @row{@columns} = map { [ split /\|/ ] } split /\t/, $line, -1;
        push @{ $conversations[ $row{'tcp.stream'}[0] ] }, \%row;
    }
    close $seen;
    return @conversations;
}

# Where there is one conversation only.
sub look_at {
    my ($segments, @how) = @_;
    write_capture("$dir/one", $segments);
    my ($rows) = look("$dir/one", @how);
    return @{ $rows || [] };
}

sub flags_of { return map { map { hex } @{ $_->{'easytcp.flags'} } } @_ }
sub tags_of  { return map { @{ $_->{'easytcp.tag'} } } @_ }
sub is_sound { return !grep { @{ $_->{'_ws.malformed'} } || @{ $_->{'easytcp.lost'} } } @_ }

# ---- recordings: t/data/handshakes/README says what the lines mean ------------------------------

sub text_of {
    my ($text) = @_;
    $text =~ s/\{([^}]*)\}/join '', map { sprintf '%%%02X', ord } split m{}, unescape($1)/ge;
    return unescape($text);
}

sub unescape {
    my ($text) = @_;
    $text =~ s/\\([0-9a-f]{2})/chr hex $1/ge;
    return $text;
}

# [ from server?, flags, payload ]; what would have to be frozen first is left out.
sub recorded {
    my ($file) = @_;
    open my $fh, '<', $file or die "Cannot read $file: $!";
    my @packets;
    my $last;
    while (my $line = <$fh>) {
        chomp $line;
        if ($line =~ /^([<>])([0-9a-f]{2})(?: (.*))?$/) {
            $last = [ $1 eq '>', hex $2, text_of(defined $3 ? $3 : '') ];
            push @packets, $last;
        }
        elsif ($line =~ /^([<>])=$/ && $last) { push @packets, [ $1 eq '>', @$last[ 1, 2 ] ] }
        elsif ($line =~ /^[<>]/) { undef $last }
    }
    return @packets;
}

# The tag of a packet that says one in clear, as far as the dissector knows it.
sub tag_of {
    my ($server, $flags, $payload) = @{ $_[0] };
    return if $flags & 0x1c || $payload !~ /\A([A-Z]{2,3})(?:\0|\z)/;
    return $1;
}

# The first releases have no welcome, by which a connection is known.
my @files = sort glob 't/data/handshakes/v*.txt';
cmp_ok(scalar @files, '>', 50, 'there are recordings');
my @recorded = map { [ recorded($_) ] } @files;
write_capture("$dir/recorded", map { [ map { [ $_->[0], to_wire(@$_[ 1, 2 ]) ] } @$_ ] } @recorded);
my @seen = look("$dir/recorded", -d => 'tcp.port==7345,easytcp');
for my $i (0 .. $#files) {
    my ($name)  = $files[$i] =~ m{.*/(.*)\.txt\z};
    my @packets = @{ $recorded[$i] };
    my @rows    = @{ $seen[$i] || [] };
    is_deeply([ flags_of(@rows) ], [ map { $_->[1] } @packets ], "$name: " . @packets . ' packets');
    is_deeply([ tags_of(@rows) ], [ map { tag_of($_) } @packets ], "$name: their tags");
    ok(is_sound(@rows), "$name: all of it makes sense");
}

# ---- segments are not packets -------------------------------------------------------------------

my @some = grep { $_->[0] } recorded('t/data/handshakes/v026-v026-plain.txt');
{
    my $server = join '', map { to_wire(@$_[ 1, 2 ]) } @some;
    my @flags = map { $_->[1] } @some;
    is_deeply([ flags_of(look_at([ [ 1, $server ] ])) ], \@flags,
        'known by its welcome; many packets in one segment');
    for my $size (97, 300) {
        my @rows = look_at([ map { [ 1, $_ ] } unpack "(a$size)*", $server ]);
        is_deeply([ flags_of(@rows) ], \@flags, "cut into segments of $size bytes");
        ok(is_sound(@rows), 'nothing malformed');
    }
    my @rows = look_at([ [ 1, to_wire(@{ $some[0] }[ 1, 2 ]) ], [ 1, "\0\0\0" ] ]);
    is(scalar(grep { @{ $_->{'easytcp.lost'} } } @rows), 1, 'a byte that begins no packet is pointed out');
}

# ---- a connection of our own --------------------------------------------------------------------

# Between a client and a server, each segment noted.
sub relay {
    my ($port, $code) = @_;
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp') or die $!;
    my $client = spawn(sub {
        $code->(Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $listener->sockport)
            || die $@);
    });
    my $near = $listener->accept or die $!;
    my $far = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Proto => 'tcp') or die $!;
    my $ready = IO::Select->new($near, $far);
    my @segments;
    while (1) {
        for my $from ($ready->can_read) {
            return @segments if !sysread $from, my $bytes, 60000;
            push @segments, [ $from == $far, $bytes ];
            syswrite $from == $far ? $near : $far, $bytes;
        }
    }
}

{
    my $server = spawn_server();
    my @segments = relay($server->{port}, sub { my $c = shift; $c->send('hello'); $c->receive });
    my @rows = look_at(\@segments);
    is(scalar(grep { @{ $_->{'easytcp.welcome'} } } @rows), 1, 'our own: the welcome');
    is((tags_of(@rows))[0], 'NO', 'the answer');
    ok(is_sound(@rows), 'all of it makes sense');
    $server->kill;
}

done_testing();
