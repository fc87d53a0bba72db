# Meets true originals, in both directions. EASYTCP_PEER_LIB names their lib directories, one for each
# release, separated by colons; without it there is nothing to meet. Which cipher modules the originals
# find is up to PERL5LIB.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
my @libs;

BEGIN {
    @libs = grep { length } split /:/, $ENV{EASYTCP_PEER_LIB} || '';
    plan skip_all => 'EASYTCP_PEER_LIB names no original' unless @libs;
    $ENV{EASYTCP_TEST_DEADLINE} ||= 120 + 90 * @libs;
}

use EasyTCPTest;
use IO::Socket::INET;
use OldPeer;
use Net::EasyTCP;

my @CIPHERS = map { "Crypt::$_" } qw(Rijndael RC6 Blowfish DES_EDE3 DES Twofish2 Twofish TEA CipherSaber RSA);
my @COMPRESSORS = qw(Compress::Zlib Compress::LZF);
my $LARGE = join '', map { chr((7 * $_ + ($_ >> 8)) & 255) } 0 .. 299999;
my %NUMBER;    # cells of each kind, for the summary

sub installed {
    my $module = shift;
    return system($^X, '-e', "exit !eval { require $module; \$${module}::VERSION }") == 0;
}

my %have = map { $_ => installed($_) } @CIPHERS, @COMPRESSORS, 'Crypt::CBC';

sub version_of {
    my $lib = shift;
    open my $file, '<', "$lib/Net/EasyTCP.pm" or die "$lib: $!";
    while (<$file>) { return $1 if /\$VERSION\s*=\s*["'](\d\.\d+)/ }
    die "no version in $lib\n";
}

# ---- what is to be expected of a release -------------------------------------------------------

# The releases since which they know a cipher in the form that everyone uses: 0.03 encrypts as nobody
# else, 0.07 has one letter for Rijndael and RC6. RSA works from 0.09 on but for three bad releases.
my %SINCE = (
    'Crypt::CipherSaber' => 2, (map { ("Crypt::$_" => 4) } qw(Blowfish DES_EDE3 DES)),
    (map { ("Crypt::$_" => 8) } qw(Rijndael RC6)),
    (map { ("Crypt::$_" => 25) } qw(Twofish2 Twofish TEA)), 'Crypt::RSA' => 9,
);

sub knows {
    my ($v, $cipher) = @_;
    return 0 if $v < $SINCE{$cipher} || !$have{$cipher};
    return 0 if $cipher eq 'Crypt::RSA' && $v >= 20 && $v < 23;
    return 1 if $cipher =~ /Saber|RSA/;
    return $have{'Crypt::CBC'};
}

sub expected_compression {
    my ($v, $role, $compressor) = @_;
    return '-' if !$compressor || $role eq 'server' && ($v == 24 || $v == 25);
    return $compressor;
}

# 0.02 has no methods that tell what was agreed on.
sub told {
    my ($v, $facts) = @_;
    return $v == 2 ? '- -' : $facts;
}

# What crypt(3) refuses as a salt lets everyone in: half of what 0.07 to 0.17 draw.
sub draws_bad_salts { return $_[0] >= 7 && $_[0] < 18 }

# ---- our client, their server ------------------------------------------------------------------

my %MESSAGES = (
    hello => 'hello', hash => { a => 1, b => [ 2, 3 ] }, large => $LARGE, spaces => 'no space is lost.  ',
    zero => '0', empty => '',
);
my @ORDER = qw(hello hash large spaces zero empty);

sub same {
    my ($want, $got) = @_;
    return 0 unless defined $got && ref $want eq ref $got;
    return $want eq $got unless ref $want;
    return $got->{a} == 1 && "@{$got->{b}}" eq '2 3';
}

sub facts { return join ' ', map { defined $_ ? $_ : '-' } $_[0]->encryption, $_[0]->compression }

# Releases from 0.07 on draw by chance, rarely, a salt that marks the servers that offer TLS: their next
# one will be another.
sub connected {
    my ($port, @options) = @_;
    my $client;
    for (1 .. 5) {
        $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, @options);
        last if $client || $@ !~ /The salt tells of TLS/;
    }
    return $client;
}

# One connection: what happened, in words.
sub converse {
    my ($port, @options) = @_;
    my $client = connected($port, @options) or return "DOWN $@";
    my @words = facts($client);
    foreach my $name (@ORDER) {
        $client->send($MESSAGES{$name}) or return "@words SEND $@";
        push @words, same($MESSAGES{$name}, scalar $client->receive(30)) ? $name : "($name)";
    }
    $client->close;
    return "@words";
}

sub is_closed_by_server {
    my ($port, @options) = @_;
    my $client = connected($port, @options) or return "DOWN $@";
    $client->send('QUIT') or return "SEND $@";
    my $echo = $client->receive(30);
    return 'no echo' unless defined $echo && $echo eq 'QUIT';
    return defined $client->receive(30) ? 'more came' : 'closed';
}

sub our_client {
    my ($name, $v, $lib, $theirs, $ours, $want) = @_;
    my $server = spawn_original($lib, 'server', @$theirs);
    my $line = $server->line;
    my ($port) = defined $line && $line =~ /^PORT (\d+)/;
    if (!$port) {
        fail("$name: their server comes up");
        diag $line, $server->rest;
        return;
    }
    my $heard = converse($port, @$ours);
    $heard =~ s/^DOWN .*rejected supplied password.*/REJECTED/s;
    my $match = like($heard, qr/^(?:$want)\z/, $name);
    if ($match && $want !~ /REJECTED/) {
        my $facts = told($v, join ' ', (split / /, $heard)[ 0, 1 ]);
        is(is_closed_by_server($port, @$ours), 'closed', "$name: they close");
        my @lines;
        until (@lines && $lines[-1] =~ /^DISCONNECT/) {
            my $next = $server->line;
            last unless defined $next;
            push @lines, $next;
        }
        is((grep { /^CONNECT/ } @lines)[0], "CONNECT $facts", "$name: both ends agree");
        is($lines[-1], 'DISCONNECT', "$name: we close");
    }
    $server->kill;
    diag $server->rest unless $match;
    return $match;
}

# ---- their client, our server ------------------------------------------------------------------

# What their client prints, in words, and what our server saw.
sub listen_to {
    my ($lib, $messages, $theirs, $ours) = @_;
    my $server = spawn_server(@$ours, callbacks => {
        connect    => sub { $EasyTCPTest::Me->report('CONNECT ' . facts($_[0])) },
        disconnect => sub { $EasyTCPTest::Me->report('DISCONNECT') },
    });
    my $client = spawn_original($lib, 'client', "port=$server->{port}", "messages=$messages", @$theirs);
    my @lines = $client->rest;
    my $heard = join ' ',
        map { /^(?:UP|SAME) (.*)/ ? $1 : /^DIFF (.*)/ ? "($1)" : /^GONE/ ? 'gone' : () } @lines;
    $heard = 'REJECTED' if grep { /^DOWN .*rejected supplied password/ } @lines;
    return ($heard, $server, @lines);
}

sub their_client {
    my ($name, $v, $lib, $theirs, $ours, $want) = @_;
    my $agreed = $want =~ /^(\S+ \S+) hello/ ? $1 : undef;
    $want =~ s/^\S+ \S+/told($v, $agreed)/e if $agreed;
    my ($heard, $server, @lines) = listen_to($lib, 'false', $theirs, $ours);
    my $match = like($heard, qr/^(?:$want)\z/, $name) or diag join "\n", @lines;
    $agreed ? is($server->line, "CONNECT $agreed", "$name: both ends agree")
        : ok(!defined $server->poll, "$name: no callback");
    $server->kill;
    return $match;
}

# Who leaves first makes no difference to the messages, but to the callbacks.
sub their_client_leaves {
    my ($name, $lib, $theirs) = @_;
    my ($heard, $server) = listen_to($lib, 'leave', $theirs, []);
    like($heard, qr/hello hash large spaces\z/, "$name: talks");
    like($server->line, qr/^CONNECT/, "$name: and is let in");
    is($server->line, 'DISCONNECT', "$name: and its leaving is seen");
    $server->kill;
    return;
}

# ---- lists of what a server can receive ---------------------------------------------------------

# A server that lists as much as it may: a welcome of 360 bytes, the list of 64 bytes in its field 7, and the
# same in field 2 of VE. Sends every message back as it came.
sub list_much {
    my ($me, $listener) = @_;
    my $list = 'B1M1' . 'a' x 58 . 'N1';
    my $offer = join "\0", '', 'ETCP1', '1.10', '', '', '', '', $list;
    my $welcome = '::  HELLO  ::';
    $welcome .= ' ' x (360 - length($welcome) - length $offer) . $offer;
    my $sock = $listener->accept or die "accept: $!";
    my @tags;
    for my $question ($welcome, "VE\0001.10\0$list", 'EN') {
        syswrite $sock, packet(1, $question);
        my (undef, $answer) = read_packet($sock);
        push @tags, defined $answer ? (split /\0/, $answer)[0] : 'nothing';
    }
    $me->report("@tags");
    while (my ($flags, $payload) = read_packet($sock)) {
        last if $payload eq 'QUIT';
        syswrite $sock, packet($flags, $payload);
    }
    return;
}

sub their_client_ignores_lists {
    my ($v, $lib, $theirs) = @_;
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp')
        or die "listen: $!";
    my $server = spawn(sub { list_much($_[0], $listener) });
    my $client = spawn_original($lib, 'client', 'port=' . $listener->sockport, @$theirs);
    my @lines = $client->rest;
    is(join(' ', map { /^SAME (\S+)/ ? $1 : () } @lines), 'hello hash large spaces',
        "0.$v client: a welcome of 360 bytes and a list of 64 are no matter") or diag join "\n", @lines;
    is($server->line, $v < 7 ? 'NO NO EN' : 'NO VE EN', "0.$v client: and it answers as ever");
    $server->kill;
    return;
}

# ---- the matrix --------------------------------------------------------------------------------

sub hidden_but {
    my %shown = map { $_ => 1 } @_;
    # Made of others, to which they are preferred.
    $shown{'Crypt::DES'} = 1 if $shown{'Crypt::DES_EDE3'};
    $shown{'Crypt::Blowfish'} = 1 if $shown{'Crypt::RSA'};
    return 'hide=' . join ',', grep { !$shown{$_} } @CIPHERS, @COMPRESSORS;
}

sub meet {
    my ($lib, $v, $scenario, %o) = @_;
    my $release = sprintf '0.%02d', $v;
    my @theirs = (hidden_but(grep { defined } @o{qw(cipher compressor show)}), @{ $o{their_options} || [] });
    my @ours = @{ $o{our_options} || [] };
    push @theirs, "password=$o{theirs}" if defined $o{theirs};
    push @ours, password => $o{ours} if defined $o{ours};
    # To half of the releases all that can be compressed is, the others get a choice.
    push @ours, compress => 'always' if $v % 2 && !grep { $_ eq 'donotcompress' } @ours;
    my $cipher = $o{cipher} || '-';
    my $done = 'hello hash large spaces zero empty';
    my %row = (server => '-', client => '-');
    foreach my $role (qw(server client)) {
        next if $role eq 'server' && $v == 11 && $cipher ne 'Crypt::RSA';    # its new() fails without
        my $want = "$cipher " . expected_compression($v, $role, $o{compressor}) . " $done";
        $want .= ' quit gone' if $role eq 'client';
        if (defined $o{ours} && $o{ours} ne $o{theirs}) {
            $want = 'REJECTED' . (draws_bad_salts($v) && $role eq 'server' ? "|$want" : '') if $v >= 7;
        }
        $want = '|- -.*\(hello\).*' if defined $o{ours} && $v < 7 && $role eq 'client';
        my $name = "$release $role, $scenario";
        $row{$role} = ($role eq 'server' ? our_client($name, $v, $lib, \@theirs, \@ours, $want)
            : their_client($name, $v, $lib, \@theirs, \@ours, $want)) ? '+' : 'F';
        $NUMBER{ $row{$role} }++;
    }
    note sprintf 'ROW %s %-31s %s %s', $release, $scenario, $row{server}, $row{client};
    return;
}

my $crypt = OldPeer->has_crypt;
foreach my $lib (@libs) {
    my $version = version_of($lib);
    my $v = sprintf "%.0f", 100 * $version;
    meet($lib, $v, 'plain');
    their_client_leaves("$version client leaves", $lib, [ hidden_but() ]);
    their_client_ignores_lists(sprintf('%02d', $v), $lib, [ hidden_but() ]) if $v >= 6;
    foreach my $compressor (grep { $have{$_} } @COMPRESSORS) {
        meet($lib, $v, $compressor, compressor => $compressor);
    }
    if ($crypt) {
        meet($lib, $v, 'password', ours => 'sesame', theirs => 'sesame');
        meet($lib, $v, 'wrong password', ours => 'sesame', theirs => 'open');
    }
    foreach my $cipher (grep { knows($v, $_) } @CIPHERS) {
        # Crypt::RSA needs Compress::Zlib.
        my @with = (cipher => $cipher, $cipher eq 'Crypt::RSA' ? (compressor => 'Compress::Zlib') : ());
        meet($lib, $v, $cipher, @with);
        meet($lib, $v, "$cipher+password", @with, ours => 'sesame', theirs => 'sesame') if $crypt;
    }
    foreach my $module ('Compress::Zlib', 'Crypt::Blowfish') {
        next unless $module =~ /Crypt/ ? knows($v, $module) : $have{$module};
        my $what = $module =~ /Crypt/ ? 'encrypt' : 'compress';
        meet($lib, $v, "$module, forbidden here", show => $module,
            our_options => [ "donot${what}with" => $module ]);
        meet($lib, $v, "no $what here", show => $module, our_options => [ "donot$what" => 1 ]);
        # Before, some of them went on to name modules that they then did not use.
        meet($lib, $v, "no $what there", show => $module, their_options => ["donot$what=1"]) if $v >= 10;
    }
    next unless $crypt && $have{'Compress::Zlib'} && knows($v, 'Crypt::Blowfish');
    meet($lib, $v, 'Zlib+Blowfish+password', cipher => 'Crypt::Blowfish',
        compressor => 'Compress::Zlib', ours => 'sesame', theirs => 'sesame');
}
note join ', ', map { "$_: $NUMBER{$_}" } sort keys %NUMBER;
done_testing();
